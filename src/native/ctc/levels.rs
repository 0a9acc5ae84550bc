//! Inner loops, compiled once for each vector level.

/// Makes a struct whose methods are the functions named, in the instance of one vector level. They have the same bits
/// at every level: nothing is contracted, and sums run over a fixed number of lanes.
macro_rules! at_every_level {
    (
        $loops:ident uses { $($import:path),* }
        $($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $result:ty)?;)*
    ) => {
        /// The loops of one level.
        #[derive(Clone, Copy)]
        pub(super) struct $loops {
            pub level: crate::vmath::Level,
        }

        impl $loops {
            /// Those of the level that the process uses; the baseline where `LOSSJIT_LEVEL` names none, as kernels are
            /// then refused before they run.
            pub(super) fn of_this_machine() -> Self {
                Self { level: crate::vmath::level().unwrap_or(crate::vmath::Level::Baseline) }
            }

            $($(#[$doc])*
            #[allow(clippy::too_many_arguments)]
            pub(super) fn $name(&self, $($arg: $ty),*) $(-> $result)? {
                match self.level {
                    // SAFETY: `level` is one that this machine has.
                    #[cfg(target_arch = "x86_64")]
                    crate::vmath::Level::Avx512 => unsafe { avx512::$name($($arg),*) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "x86_64")]
                    crate::vmath::Level::Avx2Fma => unsafe { avx2::$name($($arg),*) },
                    _ => $name($($arg),*),
                }
            })*
        }

        #[cfg(target_arch = "x86_64")]
        mod avx2 {
            $(use $import;)*
            $(#[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            pub(super) fn $name($($arg: $ty),*) $(-> $result)? {
                super::$name($($arg),*)
            })*
        }

        #[cfg(target_arch = "x86_64")]
        mod avx512 {
            $(use $import;)*
            $(#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            pub(super) fn $name($($arg: $ty),*) $(-> $result)? {
                super::$name($($arg),*)
            })*
        }
    };
}
pub(super) use at_every_level;

/// Keeps the compiler from making vectors of several blocks, a lane from each: it would gather and scatter.
#[inline(always)]
pub(super) fn one_block() {
    std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
}
