//! What kind of image some bytes are, told from the bytes themselves: what a server calls them proves nothing.

/// A kind of image that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// As `Content-Type` calls it.
    pub content_type: &'static str,
    /// As file names end.
    pub extension: &'static str,
}

/// The kind, if it is one that we know.
#[must_use]
pub fn kind(bytes: &[u8]) -> Option<Kind> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some(Kind {
            content_type: "image/png",
            extension: "png",
        })
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        Some(Kind {
            content_type: "image/jpeg",
            extension: "jpg",
        })
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        Some(Kind {
            content_type: "image/webp",
            extension: "webp",
        })
    } else {
        None
    }
}

/// `1024x1024`, as a PNG's first chunk says.
#[must_use]
pub fn dimensions(bytes: &[u8]) -> Option<String> {
    let is_png = kind(bytes)?.extension == "png" && bytes.get(12..16) == Some(b"IHDR");
    let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
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
    fn images_are_known_by_their_first_bytes() {
        let extension = |bytes: &[u8]| kind(bytes).map(|kind| kind.extension);
        assert_eq!(extension(b"\x89PNG\r\n\x1a\nrest"), Some("png"));
        assert_eq!(extension(b"\xff\xd8\xff\xe0"), Some("jpg"));
        assert_eq!(extension(b"RIFF....WEBPVP8 "), Some("webp"));
        for other in [&b""[..], b"<html>", b"GIF89a", b"RIFF....WAVE", b"\x89PNG", b"\xff\xd8"] {
            assert_eq!(extension(other), None);
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
