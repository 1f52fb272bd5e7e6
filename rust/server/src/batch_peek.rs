//! A look at a batch before it is checked.

/// The fields of a batch header that decide where a Produce goes; read before the batch is checked, so nothing in it
/// is believed beyond that.
#[derive(Clone, Copy, Debug)]
pub struct BatchPeek {
    pub is_transactional: bool,
    /// Codec 4, or a number that means no codec.
    pub is_zstd_or_unknown: bool,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
}

impl BatchPeek {
    const ATTRIBUTES: usize = 21;
    const PRODUCER_ID: usize = 43;
    const TRANSACTIONAL: i16 = 0x10;
    const CODEC: i16 = 7;
    const ZSTD: i16 = 4;

    /// `None` when there is no header to look at.
    #[must_use]
    pub fn of(records: &[u8]) -> Option<Self> {
        let attributes = i16::from_be_bytes(*records.get(Self::ATTRIBUTES..)?.first_chunk()?);
        let producer_id = i64::from_be_bytes(*records.get(Self::PRODUCER_ID..)?.first_chunk()?);
        let producer_epoch = i16::from_be_bytes(*records.get(Self::PRODUCER_ID + 8..)?.first_chunk()?);
        let base_sequence = i32::from_be_bytes(*records.get(Self::PRODUCER_ID + 10..)?.first_chunk()?);
        Some(Self {
            is_transactional: attributes & Self::TRANSACTIONAL != 0,
            is_zstd_or_unknown: attributes & Self::CODEC >= Self::ZSTD,
            producer_id,
            producer_epoch,
            base_sequence,
        })
    }
}
