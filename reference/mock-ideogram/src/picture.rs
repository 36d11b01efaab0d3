//! Pictures that a seed decides, byte for byte: PNG files that are valid, of any size, and small, and the heads of other formats.

use serde::{Deserialize, Serialize};

/// How a picture is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// PNG.
    Png,
    /// JPEG, with segments in front of the frame.
    Jpeg,
    /// WebP with losses.
    Lossy,
    /// WebP without.
    Lossless,
    /// WebP with a canvas.
    Extended,
}

impl Encoding {
    /// What its answer is called.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Lossy | Self::Lossless | Self::Extended => "image/webp",
        }
    }
}

/// A picture in this encoding. Apart from PNG it is as much of a file as says how large it is, and then bytes that mean nothing.
pub(crate) fn encoded(encoding: Encoding, seed: u64, width: u16, height: u16) -> Vec<u8> {
    let (wide, high) = (u32::from(width), u32::from(height));
    let noise = seed.to_be_bytes().repeat(64);
    match encoding {
        Encoding::Png => png(seed, wide, high),
        Encoding::Jpeg => {
            let mut file = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00".to_vec();
            // Data of an application, a frame within it that is none of this picture's; a filled marker, tables, the frame.
            let foreign = b"\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x01\x01\x11\x00";
            let length = u16::try_from(2 + foreign.len() + noise.len()).unwrap_or(u16::MAX);
            file.extend(b"\xff\xe1");
            file.extend(length.to_be_bytes());
            file.extend(foreign);
            file.extend(&noise);
            file.extend(b"\xff\xff\xc4\x00\x04\xff\xc1");
            file.extend(b"\xff\xc2\x00\x0b\x08");
            file.extend(height.to_be_bytes());
            file.extend(width.to_be_bytes());
            file.extend(b"\x01\x01\x11\x00\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00");
            file.extend(noise.iter().map(|byte| byte & 0x7f));
            file.extend(b"\xff\xd9");
            file
        }
        Encoding::Lossy => {
            let mut content = b"\x10\x00\x00\x9d\x01\x2a".to_vec();
            // The upper two bits scale what is shown, not what there is.
            content.extend((width | 0x4000).to_le_bytes());
            content.extend((height | 0x8000).to_le_bytes());
            riff(*b"VP8 ", content, &noise)
        }
        Encoding::Lossless => {
            let mut content = vec![0x2f];
            content.extend(((wide - 1) | (high - 1) << 14 | 1 << 28).to_le_bytes());
            riff(*b"VP8L", content, &noise)
        }
        Encoding::Extended => {
            let mut content = vec![0x10, 0, 0, 0];
            content.extend(&(wide - 1).to_le_bytes()[..3]);
            content.extend(&(high - 1).to_le_bytes()[..3]);
            riff(*b"VP8X", content, &noise)
        }
    }
}

fn riff(name: [u8; 4], mut content: Vec<u8>, noise: &[u8]) -> Vec<u8> {
    if &name != b"VP8X" {
        content.extend(noise);
    }
    if content.len() % 2 == 1 {
        content.push(0);
    }
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let mut file = b"RIFF".to_vec();
    file.extend((length + 12).to_le_bytes());
    file.extend(b"WEBP");
    file.extend(name);
    file.extend(length.to_le_bytes());
    file.extend(content);
    file
}

/// A picture of two colours in stripes.
pub(crate) fn png(seed: u64, width: u32, height: u32) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut head = Vec::new();
    head.extend(width.to_be_bytes());
    head.extend(height.to_be_bytes());
    // One bit for a pixel, colours from a palette.
    head.extend([1, 3, 0, 0, 0]);
    chunk(&mut file, *b"IHDR", &head);
    // Of bytes that all cost the same: whoever draws first of two at a time has another seed, and must not have another length.
    let colours = (seed & 0x7f7f_7f7f_7f7f_7f7f).to_be_bytes();
    chunk(&mut file, *b"PLTE", &colours[..6]);
    // A line: no filter, then pixels, eight to a byte.
    let mut line = vec![0];
    line.extend((0..width.div_ceil(8)).map(|index| colours[index as usize % 8]));
    chunk(&mut file, *b"IDAT", &compressed(&line, height));
    chunk(&mut file, *b"IEND", &[]);
    file
}

/// The longest copy.
const LENGTH_MAX: usize = 258;

fn chunk(file: &mut Vec<u8>, name: [u8; 4], data: &[u8]) {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    file.extend(length.to_be_bytes());
    let from = file.len();
    file.extend(name);
    file.extend(data);
    let checksum = crc32fast::hash(&file[from..]);
    file.extend(checksum.to_be_bytes());
}

/// The same line so many times, as zlib would write it: the line once in full, then copies from one line further back.
fn compressed(line: &[u8], times: u32) -> Vec<u8> {
    let mut bits = Bits {
        bytes: vec![0x78, 0x01],
        ..Bits::default()
    };
    // The last block, with fixed codes.
    bits.put(1, 1);
    bits.put(1, 2);
    for byte in line {
        bits.literal(*byte);
    }
    let mut left = line.len() * (times.saturating_sub(1)) as usize;
    let distance = line.len();
    // Nearly all copies are the longest there is.
    let longest = copy(LENGTH_MAX, distance);
    while left > 0 {
        // Never leave a rest too short for a copy.
        let length = match left {
            0..=LENGTH_MAX => left,
            259 | 260 => 200,
            _ => LENGTH_MAX,
        };
        match length {
            LENGTH_MAX => bits.put(longest.0, longest.1),
            0..3 => (0..length).for_each(|index| bits.literal(line[index % line.len()])),
            _ => {
                let (value, count) = copy(length, distance);
                bits.put(value, count);
            }
        }
        left -= length;
    }
    bits.code(0, 7);
    let mut bytes = bits.finish();
    bytes.extend(adler(line, times).to_be_bytes());
    bytes
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    /// Bits that do not make a byte yet, and how many there are.
    rest: u64,
    filled: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        self.rest |= u64::from(value) << self.filled;
        self.filled += count;
        while self.filled >= 8 {
            self.bytes.push((self.rest & 0xff) as u8);
            self.rest >>= 8;
            self.filled -= 8;
        }
    }

    /// All bytes, the last one filled up with zeros.
    fn finish(mut self) -> Vec<u8> {
        self.put(0, (8 - self.filled) % 8);
        self.bytes
    }

    fn code(&mut self, code: u32, count: u32) {
        self.put(reversed(code, count), count);
    }

    fn literal(&mut self, byte: u8) {
        let byte = u32::from(byte);
        if byte < 144 {
            self.code(0x30 + byte, 8)
        } else {
            self.code(0x190 + byte - 144, 9)
        }
    }
}

/// Bits in the order in which they are written, the first one lowest, and how many they are.
fn copy(length: usize, distance: usize) -> (u32, u32) {
    // Lengths: a base and extra bits for each symbol from 257 on.
    const LENGTHS: [u32; 29] = [
        3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227,
        258,
    ];
    const DISTANCES: [u32; 30] = [
        1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097,
        6145, 8193, 12289, 16385, 24577,
    ];
    let (length, distance) = (
        u32::try_from(length).unwrap_or(258),
        u32::try_from(distance).unwrap_or(1),
    );
    let (mut value, mut count) = (0, 0);
    let mut add = |bits: u32, width: u32| {
        value |= bits << count;
        count += width;
    };
    let index = LENGTHS.iter().rposition(|base| *base <= length).unwrap_or(0);
    let symbol = 257 + u32::try_from(index).unwrap_or(0);
    if symbol < 280 {
        add(reversed(symbol - 256, 7), 7);
    } else {
        add(reversed(0xc0 + symbol - 280, 8), 8);
    }
    let extra = if !(8..28).contains(&index) {
        0
    } else {
        u32::try_from(index / 4 - 1).unwrap_or(0)
    };
    add(length - LENGTHS[index], extra);
    let index = DISTANCES.iter().rposition(|base| *base <= distance).unwrap_or(0);
    add(reversed(u32::try_from(index).unwrap_or(0), 5), 5);
    let extra = if index < 4 {
        0
    } else {
        u32::try_from(index / 2 - 1).unwrap_or(0)
    };
    add(distance - DISTANCES[index], extra);
    (value, count)
}

/// Codes are written with their highest bit first.
fn reversed(code: u32, count: u32) -> u32 {
    code.reverse_bits() >> (32 - count)
}

/// Adler-32 of the line so many times. A line adds its sum to the low half; to the high half what it would add on its own, and the low half before it
/// once for each byte: so no line is looked at twice.
fn adler(line: &[u8], times: u32) -> u32 {
    const MODULUS: u64 = 65_521;
    let (length, times) = (line.len() as u64, u64::from(times));
    let sum: u64 = line.iter().map(|byte| u64::from(*byte)).sum();
    let weighted: u64 = line
        .iter()
        .zip((1..=length).rev())
        .map(|(byte, weight)| u64::from(*byte) * weight)
        .sum();
    let low = (1 + sum * times) % MODULUS;
    // The low halves before each line: 1, 1 + sum, 1 + 2 sum and so on.
    let lows = (times + sum * (times * times.saturating_sub(1) / 2)) % MODULUS;
    let high = (lows * length + weighted % MODULUS * times) % MODULUS;
    u32::try_from(high << 16 | low).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Undoes what `compressed` did, to see whether it is true.
    fn inflated(bytes: &[u8]) -> Vec<u8> {
        let bit = |at: usize| u32::from(bytes[2 + at / 8] >> (at % 8) & 1);
        let mut at = 3;
        let mut out: Vec<u8> = Vec::new();
        let plain = |at: &mut usize, count: usize| {
            let value = (0..count).map(|index| bit(*at + index) << index).sum::<u32>();
            *at += count;
            value
        };
        let code = |at: &mut usize, count: usize| {
            let value = (0..count).fold(0, |value, index| value << 1 | bit(*at + index));
            *at += count;
            value
        };
        loop {
            let start = at;
            let seven = code(&mut at, 7);
            let symbol = if seven < 24 {
                256 + seven
            } else {
                at = start;
                let eight = code(&mut at, 8);
                match eight {
                    0x30..=0xbf => eight - 0x30,
                    0xc0..=0xc7 => 280 + eight - 0xc0,
                    _ => {
                        at = start;
                        code(&mut at, 9) - 0x190 + 144
                    }
                }
            };
            match symbol {
                0..=255 => out.push(u8::try_from(symbol).unwrap_or(0)),
                256 => return out,
                _ => {
                    // Independent of the tables above: RFC 1951, section 3.2.5, computed.
                    let index = symbol - 257;
                    let length = match index {
                        0..=7 => index + 3,
                        28 => 258,
                        _ => {
                            let extra = index / 4 - 1;
                            ((4 + index % 4) << extra) + 3 + plain(&mut at, extra as usize)
                        }
                    };
                    let index = code(&mut at, 5);
                    let distance = match index {
                        0..=3 => index + 1,
                        _ => {
                            let extra = index / 2 - 1;
                            ((2 + index % 2) << extra) + 1 + plain(&mut at, extra as usize)
                        }
                    };
                    for _ in 0..length {
                        out.push(out[out.len() - distance as usize]);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_compressed_is_the_line_so_many_times() {
        for (width, height) in [
            (1, 1),
            (8, 2),
            (9, 3),
            (64, 64),
            (1024, 1024),
            (1000, 7),
            (4096, 5),
            (17, 130),
        ] {
            let seed = 0x0123_4567_89ab_cdef ^ u64::from(width);
            let mut line = vec![0];
            line.extend((0..u32::div_ceil(width, 8)).map(|index| seed.to_be_bytes()[index as usize % 8]));
            assert_eq!(
                inflated(&compressed(&line, height)),
                line.repeat(height as usize),
                "{width}x{height}"
            );
        }
    }

    #[test]
    fn the_checksum_is_that_of_the_definition() {
        for (width, times) in [(1, 1), (100, 3), (513, 1024)] {
            let line: Vec<u8> = (0..width).map(|index: u32| (index * 37 % 256) as u8).collect();
            let (mut low, mut high) = (1u32, 0u32);
            for byte in line.repeat(times) {
                low = (low + u32::from(byte)) % 65_521;
                high = (high + low) % 65_521;
            }
            assert_eq!(adler(&line, u32::try_from(times).unwrap_or(0)), high << 16 | low);
        }
    }

    #[test]
    fn every_encoding_says_how_large_the_picture_is() {
        for encoding in [
            Encoding::Png,
            Encoding::Jpeg,
            Encoding::Lossy,
            Encoding::Lossless,
            Encoding::Extended,
        ] {
            let file = encoded(encoding, 7, 1344, 768);
            let read = reference_core::provider::picture::dimensions(&file);
            assert_eq!(read.as_deref(), Some("1344x768"), "{encoding:?}");
        }
    }

    #[test]
    fn a_seed_decides_the_bytes() {
        assert_eq!(png(7, 1024, 1024), png(7, 1024, 1024));
        assert_ne!(png(7, 1024, 1024), png(8, 1024, 1024));
        assert_eq!(
            reference_core::provider::picture::dimensions(&png(7, 1024, 768)).as_deref(),
            Some("1024x768")
        );
        assert!(png(7, 1024, 1024).len() < 4096);
        let lengths: std::collections::BTreeSet<usize> = (0..100_u64)
            .map(|seed| png(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), 1024, 1024).len())
            .collect();
        assert_eq!(lengths.len(), 1, "{lengths:?}");
    }
}
