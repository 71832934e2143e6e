//! The number that says which configuration an image was made for.
//!
//! Why not wasmtime's own `precompile_compatibility_hash`? It needs the compiler, which the adapter
//! does not have. Why hash this crate's source? It holds every setting and the exact version of
//! wasmtime: nobody can change one and forget the hash. A comment changes it, too; that costs one
//! more run of the linker.

use spine_abi::manifest::ABI_VERSION;
use wasmtime::Engine;

const SOURCE: [&[u8]; 3] = [
    include_bytes!("configuration.rs"),
    include_bytes!("cost.rs"),
    include_bytes!("../Cargo.toml"),
];

/// The compatibility of images that `engine` makes or runs: a hash of the version and configuration
/// of wasmtime, the version of the ABI, and what this processor can do.
///
/// Equal in every process of one build on one machine. It is a courtesy ("link again"), not a proof:
/// wasmtime compares its settings once more, and only the signature says who made an image.
pub fn compatibility(engine: &Engine) -> u64 {
    let mut hash = Fnv1a::new();
    for source in SOURCE {
        hash.write(source);
    }
    hash.write(&ABI_VERSION.to_le_bytes());
    hash.write(&[u8::from(engine.is_pulley())]);
    hash.write(std::env::consts::ARCH.as_bytes());
    hash.write(std::env::consts::OS.as_bytes());
    for (name, present) in processor_features() {
        hash.write(name.as_bytes());
        hash.write(&[u8::from(present)]);
    }
    hash.0
}

/// What Cranelift asks of a processor before it uses the instructions.
#[cfg(target_arch = "x86_64")]
fn processor_features() -> impl Iterator<Item = (&'static str, bool)> {
    macro_rules! detect {
        ($($name:tt)*) => { [$(($name, std::is_x86_feature_detected!($name))),*] };
    }
    let features = detect!(
        "cmpxchg16b" "sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "avx" "avx2" "fma" "avxvnni" "bmi1"
        "bmi2" "lzcnt" "avx512bitalg" "avx512dq" "avx512f" "avx512vl" "avx512vbmi" "avx512vnni"
    );
    features.into_iter()
}

/// What Cranelift asks of a processor before it uses the instructions.
#[cfg(target_arch = "aarch64")]
fn processor_features() -> impl Iterator<Item = (&'static str, bool)> {
    macro_rules! detect {
        ($($name:tt)*) => { [$(($name, std::arch::is_aarch64_feature_detected!($name))),*] };
    }
    detect!("lse" "paca" "fp16" "dotprod" "i8mm").into_iter()
}

/// Elsewhere only wasmtime's own check tells processors apart.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn processor_features() -> impl Iterator<Item = (&'static str, bool)> {
    std::iter::empty()
}

/// The FNV-1a hash: the same in every process and build, unlike the standard library's.
struct Fnv1a(u64);

impl Fnv1a {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Takes in `bytes` and their number, so that two fields never run together.
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&(bytes.len() as u64).to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn engine() -> Engine {
        Engine::new(&config()).unwrap()
    }

    #[test]
    fn two_engines_of_one_build_agree() {
        assert_eq!(compatibility(&engine()), compatibility(&engine()));
    }

    #[test]
    fn fields_do_not_run_together() {
        let hash = |fields: [&[u8]; 2]| {
            let mut hash = Fnv1a::new();
            fields.iter().for_each(|field| hash.write(field));
            hash.0
        };
        assert_ne!(hash([b"ab", b"c"]), hash([b"a", b"bc"]));
    }

    #[test]
    fn the_version_hashed_is_the_version_locked() {
        let manifest = include_str!("../Cargo.toml");
        let lock = include_str!("../../../Cargo.lock");
        let exact = manifest.split("wasmtime = { version = \"=").nth(1).unwrap();
        let version = exact.split('"').next().unwrap();
        let locked = format!("name = \"wasmtime\"\nversion = \"{version}\"");
        assert!(lock.contains(&locked), "Cargo.lock has another wasmtime than {version}");
    }
}
