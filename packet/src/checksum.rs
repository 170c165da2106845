//! The two checksums.

use etherparse::checksum::Sum16BitWords;

/// The Internet checksum (RFC 1071) of the parts one after the other; each but the last has an even number of bytes.
#[must_use]
pub fn internet_checksum(parts: &[&[u8]]) -> u16 {
    let sum = parts
        .iter()
        .fold(Sum16BitWords::new(), |sum, part| sum.add_slice(part));
    sum.ones_complement().to_be()
}

/// CRC-32C (Castagnoli), as SCTP has it (RFC 9260, appendix A).
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    let index = |crc: u32, b: u8| usize::from((crc as u8) ^ b);
    !bytes
        .iter()
        .fold(u32::MAX, |crc, b| TABLE[index(crc, *b)] ^ crc >> 8)
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                0x82f6_3b78 ^ crc >> 1
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // RFC 3720, B.4 and the catalogue's check value.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        // RFC 1071, section 3: the sum is ddf2.
        assert_eq!(
            internet_checksum(&[&[0x00, 0x01, 0xf2, 0x03], &[0xf4, 0xf5, 0xf6, 0xf7]]),
            !0xddf2
        );
    }
}
