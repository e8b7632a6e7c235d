//! A build that keeps nothing.

use super::place::{Kept, Place};
use super::{Account, Asked};

pub(super) fn find(_asked: &Asked<'_>, _warn: &mut dyn FnMut(&str)) -> Option<Kept> {
    None
}

pub(super) fn keep(
    _host: &str,
    _port: u16,
    _account: &Account,
) -> Result<(Place, Option<String>), String> {
    Err("this build of coracle keeps none".to_owned())
}
