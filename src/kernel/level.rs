//! Which instructions the kernels of this room use. The crates `simsimd` and `gemm` choose theirs by themselves.

use std::sync::OnceLock;

/// Instruction sets with kernels of their own, from the plainest up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Whatever the compiler makes of plain loops.
    Scalar,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512F, with AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX-512 with BW, and sums of products of whole numbers (VNNI).
    #[cfg(target_arch = "x86_64")]
    Vnni,
    /// NEON, which every 64-bit ARM machine has.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// NEON with sums of four products of bytes (`sdot`).
    #[cfg(target_arch = "aarch64")]
    Dotprod,
}

impl Level {
    /// The level in use: the machine's highest, or a lower one that the environment variable `OTOLITH_KERNEL` names
    /// (`scalar`, `avx2`, `avx512`, `vnni`; on ARM `neon`, `dotprod`; for tests). Found out once.
    pub fn current() -> Level {
        static CURRENT: OnceLock<Level> = OnceLock::new();
        *CURRENT.get_or_init(|| {
            let named = std::env::var("OTOLITH_KERNEL");
            let levels = Level::available().filter(|level| named.as_ref().is_ok_and(|name| name == level.name()));
            levels.max().or(Level::available().max()).unwrap_or(Level::Scalar)
        })
    }

    /// The levels that this machine can run.
    pub fn available() -> impl Iterator<Item = Level> {
        #[cfg(target_arch = "x86_64")]
        let simd = {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = avx2 && is_x86_feature_detected!("avx512f");
            let vnni = avx512 && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vnni");
            [(Level::Avx2, avx2), (Level::Avx512, avx512), (Level::Vnni, vnni)]
        };
        #[cfg(target_arch = "aarch64")]
        let simd = {
            use std::arch::is_aarch64_feature_detected;
            let neon = is_aarch64_feature_detected!("neon");
            [(Level::Neon, neon), (Level::Dotprod, neon && is_aarch64_feature_detected!("dotprod"))]
        };
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let simd = [];
        std::iter::once(Level::Scalar).chain(simd.into_iter().filter(|(_, there)| *there).map(|(level, _)| level))
    }

    /// Its name in `OTOLITH_KERNEL`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Level::Vnni => "vnni",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "neon",
            #[cfg(target_arch = "aarch64")]
            Level::Dotprod => "dotprod",
        }
    }
}
