//! Kinds, axes and the types that inference gives to nodes.

use std::fmt;

/// What a value is made of. The width of a float is no part of a graph: it is chosen when the graph is compiled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Kind {
    Float,
    Int,
    Bool,
    /// A buffer's name; only `read` takes it.
    Buffer,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Float => "float",
            Kind::Int => "int",
            Kind::Bool => "bool",
            Kind::Buffer => "buffer",
        }
    }
}

macro_rules! index_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(u8);

        impl $name {
            /// # Panics
            /// Above 255; the builder refuses larger graphs first.
            pub fn new(index: usize) -> Self {
                Self(u8::try_from(index).expect("the builder bounds the tables"))
            }

            pub fn index(self) -> usize {
                usize::from(self.0)
            }
        }
    };
}

index_type! {
    /// An axis, by its place in the graph's table.
    AxisId
}
index_type! {
    /// A buffer, by its place in the graph's table.
    InputId
}

/// The most axes a graph may have: as many as [`AxisSet`] has bits.
pub const MAX_AXES: usize = 32;

/// A set of axes of one graph.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct AxisSet(u32);

impl AxisSet {
    pub const EMPTY: Self = Self(0);

    pub fn of(axis: AxisId) -> Self {
        Self(1 << axis.index())
    }

    pub fn contains(self, axis: AxisId) -> bool {
        self.0 & Self::of(axis).0 != 0
    }

    pub fn with(self, axis: AxisId) -> Self {
        Self(self.0 | Self::of(axis).0)
    }

    pub fn without(self, axis: AxisId) -> Self {
        Self(self.0 & !Self::of(axis).0)
    }

    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn is_subset(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The axes in the order of the graph's table.
    pub fn iter(self) -> impl Iterator<Item = AxisId> {
        (0..MAX_AXES).filter(move |i| self.0 >> i & 1 == 1).map(AxisId::new)
    }
}

impl FromIterator<AxisId> for AxisSet {
    fn from_iter<T: IntoIterator<Item = AxisId>>(axes: T) -> Self {
        axes.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for AxisSet {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_set().entries(self.iter().map(AxisId::index)).finish()
    }
}

/// A node's type: what it is made of and the axes it varies along.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Type {
    pub kind: Kind,
    pub axes: AxisSet,
}

/// How the elements of a buffer are stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Dtype {
    F32,
    F64,
    I32,
    I64,
    U8,
    U32,
    /// A float of 16 bits with the exponents of f32; stored so, and computed in f32.
    Bf16,
    /// IEEE 754's float of 16 bits; stored so, and computed in f32.
    F16,
}

impl Dtype {
    pub const ALL: [Dtype; 8] =
        [Dtype::F32, Dtype::F64, Dtype::I32, Dtype::I64, Dtype::U8, Dtype::U32, Dtype::Bf16, Dtype::F16];

    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::F64 => "f64",
            Dtype::I32 => "i32",
            Dtype::I64 => "i64",
            Dtype::U8 => "u8",
            Dtype::U32 => "u32",
            Dtype::Bf16 => "bf16",
            Dtype::F16 => "f16",
        }
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Dtype::U8 => 1,
            Dtype::Bf16 | Dtype::F16 => 2,
            Dtype::F32 | Dtype::I32 | Dtype::U32 => 4,
            Dtype::F64 | Dtype::I64 => 8,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, Dtype::F32 | Dtype::F64) || self.is_half()
    }

    /// Whether elements are floats of 16 bits.
    pub fn is_half(self) -> bool {
        matches!(self, Dtype::Bf16 | Dtype::F16)
    }

    /// The dtype that a loss of such floats is computed in.
    pub fn computed(self) -> Self {
        if self.is_half() { Dtype::F32 } else { self }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}
