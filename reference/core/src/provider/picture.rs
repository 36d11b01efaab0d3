//! What kind of image an answer holds, and how large it is.

/// The media type of an image and how names of its files end, from a `Content-Type`; nothing if it is no image.
#[must_use]
pub fn kind(content_type: &str) -> Option<(String, String)> {
    let media_type = content_type.split(';').next()?.trim().to_ascii_lowercase();
    let subtype = media_type.strip_prefix("image/")?;
    let word: String = subtype
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .take(8)
        .collect();
    let extension = match word.as_str() {
        "" => return None,
        "jpeg" => "jpg".to_owned(),
        _ => word,
    };
    Some((media_type, extension))
}

/// `1024x1024`, as a PNG's first chunk says.
#[must_use]
pub fn dimensions(bytes: &[u8]) -> Option<String> {
    let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let is_png = bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.get(12..16) == Some(b"IHDR");
    if is_png {
        Some(format!("{}x{}", number(16)?, number(20)?))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_what_is_called_so() {
        let named =
            |content_type: &str| kind(content_type).map(|(media_type, extension)| format!("{media_type} {extension}"));
        assert_eq!(named("image/png").as_deref(), Some("image/png png"));
        assert_eq!(named("Image/JPEG; q=1").as_deref(), Some("image/jpeg jpg"));
        assert_eq!(named("image/svg+xml").as_deref(), Some("image/svg+xml svg"));
        for other in [
            "",
            "text/html",
            "image",
            "image/",
            "image/../x",
            "application/image/png",
        ] {
            assert_eq!(named(other), None, "{other}");
        }
    }

    #[test]
    fn a_png_says_how_large_it_is() {
        let png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\x04\x00\x00\x00\x03\x00";
        assert_eq!(dimensions(png).as_deref(), Some("1024x768"));
        assert_eq!(dimensions(&png[..20]), None);
        assert_eq!(dimensions(b"\xff\xd8\xff\xe0"), None);
    }
}
