//! `GET /images/{r2_path}`: the bytes, to anybody who knows the path.

use crate::http::{Headers, Request, Response};
use crate::ports::{Blob, ImageHost};
use crate::problem::{Code, Problem};

/// What is stored under a path never changes.
const CACHE_CONTROL: &str = "public, max-age=31536000, immutable";

/// Answers `GET /images/{r2_path}`.
pub async fn image(host: &impl ImageHost, request: &Request) -> Result<Response, Problem> {
    let path = request.path.strip_prefix("/images/").unwrap_or_default();
    let blob = find(host, path).await?.ok_or_else(|| Problem::missing("image"))?;
    let etag = format!("\"{}\"", blob.etag);
    let mut headers: Headers = [
        ("etag", etag.as_str()),
        ("cache-control", CACHE_CONTROL),
        ("accept-ranges", "bytes"),
    ]
    .into_iter()
    .collect();
    if request
        .headers
        .get("if-none-match")
        .is_some_and(|tags| matches(tags, &etag))
    {
        return Ok(Response {
            status: 304,
            headers,
            body: Vec::new(),
        });
    }
    headers.set("content-type", blob.content_type);
    let size = blob.bytes.len();
    let (status, body) = match request
        .headers
        .get("range")
        .map_or(Range::None, |range| wanted(range, size))
    {
        Range::None => (200, blob.bytes),
        Range::Part(first, last) => {
            headers.set("content-range", format!("bytes {first}-{last}/{size}"));
            (206, blob.bytes[first..=last].to_vec())
        }
        Range::Outside => {
            let problem = Problem::new(Code::RangeNotSatisfiable, "the image has no such bytes");
            return Err(problem.with_header("content-range", format!("bytes */{size}")));
        }
    };
    headers.set("content-length", body.len().to_string());
    Ok(Response { status, headers, body })
}

/// The image, in whichever bucket it lies: an instance may have had another bucket when it was stored.
async fn find(host: &impl ImageHost, path: &str) -> Result<Option<Blob>, Problem> {
    for bucket in host.buckets() {
        let blob = host.blob_get(bucket.as_deref(), path).await?;
        if let Some(blob) = blob.filter(|blob| blob.content_type.starts_with("image/")) {
            return Ok(Some(blob));
        }
    }
    Ok(None)
}

/// Whether one of the tags is this one, be it in its weak form.
fn matches(tags: &str, etag: &str) -> bool {
    tags.split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// Which bytes are wanted.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// All: no range, or none that is understood.
    None,
    /// From the first to the last.
    Part(usize, usize),
    /// Some that do not exist.
    Outside,
}

fn wanted(range: &str, size: usize) -> Range {
    let Some((first, last)) = range
        .trim()
        .strip_prefix("bytes=")
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Range::None;
    };
    let number = |text: &str| match text.parse::<u64>() {
        Ok(number) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(usize::try_from(number).unwrap_or(usize::MAX))
        }
        Ok(_) | Err(_) => None,
    };
    match (first, last) {
        ("", count) => match number(count) {
            Some(0) => Range::Outside,
            Some(_) if size == 0 => Range::Outside,
            Some(count) => Range::Part(size.saturating_sub(count), size - 1),
            None => Range::None,
        },
        (first, last) => match (
            number(first),
            if last.is_empty() {
                Some(usize::MAX)
            } else {
                number(last)
            },
        ) {
            (Some(first), Some(last)) if first > last => Range::None,
            (Some(first), Some(_)) if first >= size => Range::Outside,
            (Some(first), Some(last)) => Range::Part(first, last.min(size - 1)),
            (_, _) => Range::None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clipped_ignored_or_outside() {
        for (text, size, expected) in [
            ("bytes=0-0", 10, Range::Part(0, 0)),
            ("bytes=2-5", 10, Range::Part(2, 5)),
            ("bytes=2-", 10, Range::Part(2, 9)),
            ("bytes=2-99", 10, Range::Part(2, 9)),
            ("bytes=-3", 10, Range::Part(7, 9)),
            ("bytes=-99", 10, Range::Part(0, 9)),
            ("bytes=10-", 10, Range::Outside),
            ("bytes=99999999999999999999999-", 10, Range::None),
            ("bytes=10-20", 10, Range::Outside),
            ("bytes=-0", 10, Range::Outside),
            ("bytes=-1", 0, Range::Outside),
            ("bytes=0-", 0, Range::Outside),
            ("bytes=5-2", 10, Range::None),
            ("bytes=a-b", 10, Range::None),
            ("bytes=-", 10, Range::None),
            ("bytes=+1-2", 10, Range::None),
            ("items=0-1", 10, Range::None),
            ("bytes=0-1,3-4", 10, Range::None),
            ("", 10, Range::None),
        ] {
            assert_eq!(wanted(text, size), expected, "{text}");
        }
    }

    #[test]
    fn tags_match_in_lists_in_weak_form_and_as_a_star() {
        for tags in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*", " \"a\" "] {
            assert!(matches(tags, "\"a\""), "{tags}");
        }
        for tags in ["\"b\"", "a", "", "\"A\""] {
            assert!(!matches(tags, "\"a\""), "{tags}");
        }
    }
}
