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

    /// Whether this has the form of one batch. What is in it may be refused all the same.
    #[must_use]
    pub fn may_be_taken(records: &[u8]) -> bool {
        const LENGTH: usize = 8;
        const MAGIC: usize = 16;
        const HEADER_BYTES: usize = 61;
        let length =
            records.get(LENGTH..).and_then(|behind| behind.first_chunk()).map(|length| i32::from_be_bytes(*length));
        let is_whole = length.and_then(|length| usize::try_from(length).ok()) == records.len().checked_sub(LENGTH + 4);
        is_whole && records.len() > HEADER_BYTES && records.get(MAGIC) == Some(&2)
    }

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
