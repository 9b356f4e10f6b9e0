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
    /// The same, and sums of products of whole numbers (AVX-VNNI).
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// AVX-512F, with AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX-512 with BW, and sums of products of whole numbers (VNNI).
    #[cfg(target_arch = "x86_64")]
    Vnni,
    /// The same with matrix registers for bytes (AMX).
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// NEON, which every 64-bit ARM machine has.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// NEON with sums of four products of bytes (`sdot`).
    #[cfg(target_arch = "aarch64")]
    Dotprod,
}

impl Level {
    /// The level in use: the machine's highest, or a lower one that the environment variable `OTOLITH_KERNEL` names
    /// (`scalar`, `avx2`, `avx_vnni`, `avx512`, `vnni`, `amx`; on ARM `neon`, `dotprod`). Found out once.
    pub fn current() -> Level {
        static CURRENT: OnceLock<Level> = OnceLock::new();
        *CURRENT.get_or_init(|| {
            let named = std::env::var("OTOLITH_KERNEL");
            let named = Level::ALL.iter().find(|level| named.as_ref().is_ok_and(|name| name == level.name()));
            let named = named.copied().filter(|level| level.is_there());
            named.or_else(|| Level::available().last()).unwrap_or(Level::Scalar)
        })
    }

    /// The levels that this machine can run, rising.
    pub fn available() -> impl Iterator<Item = Level> {
        Level::ALL.iter().copied().filter(|level| level.is_there())
    }

    #[cfg(target_arch = "x86_64")]
    const ALL: &[Level] = &[Level::Scalar, Level::Avx2, Level::AvxVnni, Level::Avx512, Level::Vnni, Level::Amx];
    #[cfg(target_arch = "aarch64")]
    const ALL: &[Level] = &[Level::Scalar, Level::Neon, Level::Dotprod];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    const ALL: &[Level] = &[Level::Scalar];

    /// Whether the machine can run it.
    fn is_there(self) -> bool {
        #[cfg(target_arch = "aarch64")]
        use std::arch::is_aarch64_feature_detected;
        match self {
            Level::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni => Level::Avx2.is_there() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => Level::Avx2.is_there() && is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Level::Vnni => {
                let has_all = is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vnni");
                Level::Avx512.is_there() && has_all
            }
            #[cfg(target_arch = "x86_64")]
            Level::Amx => Level::Vnni.is_there() && super::tile::has_matrix_registers(),
            #[cfg(target_arch = "aarch64")]
            Level::Neon => is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "aarch64")]
            Level::Dotprod => Level::Neon.is_there() && is_aarch64_feature_detected!("dotprod"),
        }
    }

    /// What it computes with in `f32` and `f64`.
    pub(super) fn floats(self) -> Floats {
        match self {
            Level::Scalar => Floats::Scalar,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::AvxVnni => Floats::Avx2,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 | Level::Vnni | Level::Amx => Floats::Avx512,
            #[cfg(target_arch = "aarch64")]
            Level::Neon | Level::Dotprod => Floats::Neon,
        }
    }

    /// Its name in `OTOLITH_KERNEL`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni => "avx_vnni",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Level::Vnni => "vnni",
            #[cfg(target_arch = "x86_64")]
            Level::Amx => "amx",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "neon",
            #[cfg(target_arch = "aarch64")]
            Level::Dotprod => "dotprod",
        }
    }
}

/// Instruction sets with kernels of floating-point numbers. What has AVX-512 has AVX2 and FMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Floats {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}
