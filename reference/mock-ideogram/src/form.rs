//! Forms as browsers send them, read strictly: what is not exactly right is nothing.

/// The fields of a `multipart/form-data` body without files, in their order.
pub(crate) fn fields(content_type: &str, body: &[u8]) -> Option<Vec<(String, String)>> {
    let (media_type, parameters) = content_type.split_once(';')?;
    if !media_type.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters
        .split(';')
        .find_map(|parameter| parameter.trim().strip_prefix("boundary="))?;
    let boundary = boundary.trim_matches('"');
    let body = std::str::from_utf8(body).ok()?;
    let mut rest = body.strip_prefix("--")?.strip_prefix(boundary)?;
    let edge = format!("\r\n--{boundary}");
    let mut fields = Vec::new();
    loop {
        if let Some(end) = rest.strip_prefix("--") {
            return (end.is_empty() || end == "\r\n").then_some(fields);
        }
        let (head, after) = rest.strip_prefix("\r\n")?.split_once("\r\n\r\n")?;
        let (value, after) = after.split_once(&edge)?;
        fields.push((name(head)?, value.to_owned()));
        rest = after;
    }
}

fn name(head: &str) -> Option<String> {
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition").then(|| value.trim())
    })?;
    let mut parts = disposition.split(';').map(str::trim);
    if parts.next() != Some("form-data") {
        return None;
    }
    parts.find_map(|part| Some(part.strip_prefix("name=\"")?.strip_suffix('"')?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::fields;

    #[test]
    fn forms_are_read_or_refused() {
        let body = b"--e\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na\r\nb--e\r\n--e\r\ncontent-disposition: form-data; name=\"seed\"\r\n\r\n7\r\n--e--\r\n";
        let read = fields("multipart/form-data; boundary=e", body).unwrap_or_default();
        assert_eq!(
            read,
            [
                ("prompt".to_owned(), "a\r\nb--e".to_owned()),
                ("seed".to_owned(), "7".to_owned())
            ]
        );
        assert_eq!(fields("multipart/form-data; boundary=other", body), None);
        assert_eq!(fields("multipart/form-data", body), None);
        assert_eq!(fields("application/json; boundary=e", body), None);
        assert_eq!(fields("multipart/form-data; boundary=e", &body[..body.len() - 5]), None);
        assert_eq!(
            fields(
                "multipart/form-data; boundary=e",
                b"--e\nContent-Disposition: form-data; name=\"p\"\n\na\n--e--"
            ),
            None
        );
    }
}
