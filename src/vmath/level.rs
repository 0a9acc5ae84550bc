//! Instruction-set levels: which the machine has, and which one this process uses.

use std::sync::OnceLock;

/// An instruction set that the tile functions are compiled for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Level {
    /// What the compilation target guarantees.
    Baseline,
    /// x86-64 with AVX2 and FMA.
    Avx2Fma,
    /// x86-64 with AVX-512 F, BW, DQ and VL.
    Avx512,
    /// aarch64 with NEON.
    Neon,
}

impl Level {
    const ALL: [Level; 4] = [Level::Baseline, Level::Avx2Fma, Level::Avx512, Level::Neon];

    /// The levels of this machine, slowest first.
    pub fn available() -> Vec<Level> {
        Level::ALL.into_iter().filter(|level| level.is_available()).collect()
    }

    pub fn is_available(self) -> bool {
        match self {
            Level::Baseline => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2Fma => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => {
                Level::Avx2Fma.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "aarch64")]
            Level::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// The word that names this level in `LOSSJIT_LEVEL`.
    pub fn word(self) -> &'static str {
        match self {
            Level::Baseline => "baseline",
            Level::Avx2Fma => "avx2",
            Level::Avx512 => "avx512",
            Level::Neon => "neon",
        }
    }

    /// The level that `word` names, if this machine has it; the best one if there is no word.
    pub(super) fn choose(word: Option<&str>) -> Result<Level, String> {
        let available = Level::available();
        let Some(word) = word else {
            return Ok(*available.last().unwrap_or(&Level::Baseline));
        };
        let words = |levels: &[Level]| levels.iter().map(|l| l.word()).collect::<Vec<_>>().join(", ");
        match Level::ALL.into_iter().find(|level| level.word() == word) {
            None => Err(format!("LOSSJIT_LEVEL: unknown level `{word}`; known are {}", words(&Level::ALL))),
            Some(level) if !level.is_available() => {
                Err(format!("LOSSJIT_LEVEL: this machine lacks `{word}`; it has {}", words(&available)))
            }
            Some(level) => Ok(level),
        }
    }
}

/// The level of this process, chosen at the first call: the best available, or what `LOSSJIT_LEVEL` names.
pub fn level() -> Result<Level, String> {
    static LEVEL: OnceLock<Result<Level, String>> = OnceLock::new();
    LEVEL.get_or_init(|| forced().and_then(|forced| forced.map_or_else(|| Level::choose(None), Ok))).clone()
}

/// The level that `LOSSJIT_LEVEL` names, read once per process; `None` where it is not set. The JIT keeps to it too.
pub fn forced() -> Result<Option<Level>, String> {
    static FORCED: OnceLock<Result<Option<Level>, String>> = OnceLock::new();
    let read = || {
        let word = std::env::var_os("LOSSJIT_LEVEL");
        word.map(|word| Level::choose(Some(&word.to_string_lossy()))).transpose()
    };
    FORCED.get_or_init(read).clone()
}
