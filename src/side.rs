//! The two sides of a sync, so that what holds for one holds for the other without being written twice.

use std::fmt;

/// One of the two targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The directory on this machine.
    Local,
    /// The directory on the server, or the second directory.
    Remote,
}

impl Side {
    /// Both, local first.
    pub const BOTH: [Self; 2] = [Self::Local, Self::Remote];

    /// The other side.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Local => Self::Remote,
            Self::Remote => Self::Local,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Remote => "remote",
        })
    }
}

/// One value for each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Sides<T> {
    /// The local side's.
    pub local: T,
    /// The remote side's.
    pub remote: T,
}

impl<T> Sides<T> {
    /// A value for each side.
    pub const fn new(local: T, remote: T) -> Self {
        Self { local, remote }
    }

    /// The value of one side.
    pub const fn of(&self, side: Side) -> &T {
        match side {
            Side::Local => &self.local,
            Side::Remote => &self.remote,
        }
    }

    /// The value of one side, to change it.
    pub const fn of_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Local => &mut self.local,
            Side::Remote => &mut self.remote,
        }
    }

    /// The two values exchanged.
    #[must_use]
    pub fn swap(self) -> Self {
        Self {
            local: self.remote,
            remote: self.local,
        }
    }

    /// Each value through `f`.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> Sides<U> {
        Sides {
            local: f(self.local),
            remote: f(self.remote),
        }
    }

    /// The values by reference.
    pub const fn as_ref(&self) -> Sides<&T> {
        Sides {
            local: &self.local,
            remote: &self.remote,
        }
    }
}
