use std::fmt;
use std::net::IpAddr;

/// An address family; IPv4 sorts before IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, IPv4 first.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    /// The family of an address.
    pub const fn of(address: IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// The other one.
    pub const fn other(self) -> Family {
        match self {
            Family::V4 => Family::V6,
            Family::V6 => Family::V4,
        }
    }

    /// The length of a host route: 32 or 128.
    pub const fn max_prefix_len(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// A set of address families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FamilySet {
    /// Whether IPv4 is in it.
    pub v4: bool,
    /// Whether IPv6 is in it.
    pub v6: bool,
}

impl FamilySet {
    /// Neither.
    pub const NONE: FamilySet = FamilySet { v4: false, v6: false };
    /// Both.
    pub const BOTH: FamilySet = FamilySet { v4: true, v6: true };

    /// Just this one.
    pub const fn only(family: Family) -> FamilySet {
        match family {
            Family::V4 => FamilySet { v4: true, v6: false },
            Family::V6 => FamilySet { v4: false, v6: true },
        }
    }

    /// Whether `family` is in it.
    pub const fn contains(self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }

    /// Adds `family`.
    pub fn insert(&mut self, family: Family) {
        match family {
            Family::V4 => self.v4 = true,
            Family::V6 => self.v6 = true,
        }
    }

    /// How many: 0 to 2.
    pub const fn len(self) -> usize {
        self.v4 as usize + self.v6 as usize
    }

    /// Whether it holds neither.
    pub const fn is_empty(self) -> bool {
        !self.v4 && !self.v6
    }

    /// Those in it, IPv4 first.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(move |f| self.contains(*f))
    }
}

impl FromIterator<Family> for FamilySet {
    fn from_iter<I: IntoIterator<Item = Family>>(families: I) -> Self {
        let mut set = FamilySet::NONE;
        for f in families {
            set.insert(f);
        }
        set
    }
}
