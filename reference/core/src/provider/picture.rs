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

/// `1024x1024`, as the head of a PNG, a JPEG or a WebP says; nothing for what is none of them, or ends before it says so.
#[must_use]
pub fn dimensions(bytes: &[u8]) -> Option<String> {
    let (width, height) = if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        png(bytes)
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        jpeg(bytes)
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        webp(bytes)
    } else {
        None
    }?;
    (width > 0 && height > 0).then(|| format!("{width}x{height}"))
}

/// The first chunk, IHDR, begins with both.
fn png(bytes: &[u8]) -> Option<(u32, u32)> {
    let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    (bytes.get(12..16)? == b"IHDR").then_some((number(16)?, number(20)?))
}

/// Segments, each a marker and a length, up to the one of the frame (ITU T.81, annex B).
fn jpeg(bytes: &[u8]) -> Option<(u32, u32)> {
    let number = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let mut at = 2;
    loop {
        match (*bytes.get(at)?, *bytes.get(at + 1)?) {
            // Markers may be filled up to any length.
            (0xff, 0xff) => at += 1,
            // These stand alone.
            (0xff, 0x01 | 0xd0..=0xd7) => at += 2,
            // A frame of any coding; C4, C8 and CC are none.
            (0xff, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf) => {
                return Some((number(at + 7)?.into(), number(at + 5)?.into()));
            }
            (0xff, 0xc4 | 0xc8 | 0xcc | 0xdb..=0xfe) => {
                let length = usize::from(number(at + 2)?);
                if length < 2 {
                    return None;
                }
                at += 2 + length;
            }
            _ => return None,
        }
    }
}

/// One of three first chunks (RFC 9649, sections 2.5 to 2.7); its content begins at byte 20.
fn webp(bytes: &[u8]) -> Option<(u32, u32)> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    match bytes.get(12..16)? {
        b"VP8 " if bytes.get(23..26)? == b"\x9d\x01\x2a" => {
            // Two bits above each number scale what is shown.
            let both = number(26)?;
            Some((both & 0x3fff, both >> 16 & 0x3fff))
        }
        b"VP8L" if *bytes.get(20)? == 0x2f => {
            let both = number(21)?;
            Some(((both & 0x3fff) + 1, (both >> 14 & 0x3fff) + 1))
        }
        // 24 bits each, less one.
        b"VP8X" => Some(((number(24)? & 0x00ff_ffff) + 1, (number(26)? >> 8) + 1)),
        _ => None,
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
        assert_eq!(dimensions(&png[..23]), None);
        let other = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIDAT\x00\x00\x04\x00\x00\x00\x03\x00";
        assert_eq!(dimensions(other), None);
        for empty in [
            b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\x00\x00\x00\x00\x03\x00",
            b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\x04\x00\x00\x00\x00\x00",
        ] {
            assert_eq!(dimensions(empty), None);
        }
    }

    #[test]
    fn a_jpeg_says_it_in_its_frame() {
        let jpeg = |segments: &[u8]| dimensions(&[b"\xff\xd8".as_slice(), segments].concat());
        let frame = b"\xff\xc2\x00\x0b\x08\x03\x00\x05\x40\x01";
        assert_eq!(jpeg(frame).as_deref(), Some("1344x768"));
        assert_eq!(jpeg(&frame[..8]), None);
        let behind = |segment: &[u8]| jpeg(&[segment, frame].concat());
        assert_eq!(behind(b"\xff\xe0\x00\x04\xff\xc0").as_deref(), Some("1344x768"));
        assert_eq!(behind(b"\xff\xc4\x00\x03\x00").as_deref(), Some("1344x768"));
        // Behind two of them, too.
        assert_eq!(
            behind(b"\xff\xe0\x00\x04\xff\xc0\xff\xc4\x00\x03\x00").as_deref(),
            Some("1344x768")
        );
        // An empty one, and filling.
        assert_eq!(behind(b"\xff\xe0\x00\x02").as_deref(), Some("1344x768"));
        assert_eq!(behind(b"\xff\xff\xff").as_deref(), Some("1344x768"));
        assert_eq!(behind(b"\xff\x01\xff\xd7").as_deref(), Some("1344x768"));
        // No length, one that cannot be, the scan, and no marker at all.
        for broken in [
            b"\xff\xe0".as_slice(),
            b"\xff\xe0\x00\x01",
            b"\xff\xda\x00\x02",
            b"\xff\xe0\x00\x03\x00\x00",
        ] {
            assert_eq!(behind(broken), None, "{broken:x?}");
        }
    }

    #[test]
    fn a_webp_says_it_in_one_of_three_ways() {
        let webp = |chunk: &[u8]| dimensions(&[b"RIFF\x00\x00\x00\x00WEBP".as_slice(), chunk].concat());
        let lossy = b"VP8 \x0a\x00\x00\x00\x00\x00\x00\x9d\x01\x2a\x40\x45\x00\x83";
        assert_eq!(webp(lossy).as_deref(), Some("1344x768"));
        assert_eq!(webp(&lossy[..17]), None);
        let without_start = b"VP8 \x0a\x00\x00\x00\x00\x00\x00\x9d\x01\x2b\x40\x45\x00\x83";
        assert_eq!(webp(without_start), None);
        let lossless = b"VP8L\x05\x00\x00\x00\x2f\x3f\xc5\xbf\x10";
        assert_eq!(webp(lossless).as_deref(), Some("1344x768"));
        assert_eq!(webp(&lossless[..12]), None);
        assert_eq!(webp(b"VP8L\x05\x00\x00\x00\x2e\x3f\xc5\xbf\x10"), None);
        let extended = b"VP8X\x0a\x00\x00\x00\x00\x00\x00\x00\x3f\x05\x00\xff\x02\x00";
        assert_eq!(webp(extended).as_deref(), Some("1344x768"));
        assert_eq!(
            webp(b"VP8Y\x0a\x00\x00\x00\x00\x00\x00\x00\x3f\x05\x00\xff\x02\x00"),
            None
        );
        assert_eq!(
            dimensions(b"RIFF\x00\x00\x00\x00WAVEVP8L\x05\x00\x00\x00\x2f\x3f\xc5\xbf\x10"),
            None
        );
        assert_eq!(dimensions(b"GIF89a\x40\x05\x00\x03"), None);
    }
}
