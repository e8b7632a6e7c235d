//! The zone of this machine.

use std::mem::MaybeUninit;

use crate::time::Timestamp;

/// By how many seconds local clocks are ahead of UTC at that time, as this machine's zone has it; 0 where that is not known.
#[allow(
    clippy::useless_conversion,
    reason = "seconds are shorter on 32-bit machines"
)]
pub fn zone_offset_secs(at: Timestamp) -> i64 {
    let Some(secs) = at.as_secs().try_into().ok() else {
        return 0;
    };
    let mut civil = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: it reads the time and fills the `tm`.
    let filled = unsafe { libc::localtime_r(&raw const secs, civil.as_mut_ptr()) };
    if filled.is_null() {
        return 0;
    }
    // SAFETY: all bits zero is a valid `tm`, and the call has filled it.
    let offset = unsafe { civil.assume_init() }.tm_gmtoff;
    i64::from(offset)
}

/// Takes over the zone from where OpenWrt keeps it: a static binary's libc does not look there. To be called before there are
/// threads.
pub fn adopt_time_zone() {
    if std::env::var_os("TZ").is_some() {
        return;
    }
    if let Ok(zone) = std::fs::read_to_string("/etc/TZ")
        && !zone.contains('\0')
    {
        // SAFETY: no other thread is there to read the environment.
        unsafe { std::env::set_var("TZ", zone.trim()) };
    }
}
