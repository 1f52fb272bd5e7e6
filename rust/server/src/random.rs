//! Randomness for ids and keys.

use tracing::warn;

pub fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(failure) => {
                // Only a kernel without the call gets here; an id from the clock is unique enough for one machine.
                warn!("no random bytes from the system ({failure}); using the clock");
                let nanos = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
                return nanos.to_be_bytes();
            }
        }
    }
    bytes
}

pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
