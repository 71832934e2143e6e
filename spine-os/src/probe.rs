//! The probe: an extension that spends one budget after the other in the worst ways we know.
//!
//! Fuel bounds work, and time only within a factor. An adapter that runs on a real clock therefore times
//! these at start and says what one budget takes: "one budget: ordinary N us, worst W us". The host half
//! makes the module, because only it has a linker; the adapter runs it, because only there the caches, the
//! page tables and the processor are the ones that count.
//!
//! The figure is a promise to neighbours, so the worst is looked for: memory is larger than the caches, in an order
//! that no processor guesses, and cold, since each chase goes on where the last one was stopped.
//!
//! Each handler is one way to spend a budget, and never returns: the watchdog stops it, and the time until
//! then, the stop included, is the figure. Most are unrolled, for the loop around them costs fuel as well.
//!
//! Left out: what the fuel of an import pays for beyond the call (copies, sends); two extensions that work
//! against each other's caches on two processors; and first touches of pages, which do not happen, since
//! all memory is there when an extension is loaded (where an application takes pages of its region away
//! again and again, its extension is struck out).

use std::fmt;
use std::time::Duration;

use spine_abi::HandlerNumber;
use spine_abi::interface::{Domain, Domains, NEXT, REGION, RELEASE};
use spine_abi::limits::PAGE_BYTES;
use spine_abi::manifest::{self, HandlerDeclaration, SECTION};
use wasm_encoder::{
    BlockType, CodeSection, CustomSection, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, ImportSection, InstructionSink, MemArg, MemorySection, MemoryType, Module,
    TypeSection, ValType,
};

use spine_client::memory::{Region, RegionError};

/// The ways to spend a budget, by handler number from 1 on. The first is the ordinary one.
pub const PROBES: [&str; PROBE_COUNT] = [
    "a loop of plain instructions",
    "integer divisions",
    "square roots",
    "arithmetic on subnormal numbers",
    "calls into the runtime",
    "a pointer chase through 128 MiB of cold memory",
];
const PROBE_COUNT: usize = 6;

/// Bytes of the region that is chased through: more than the caches that a core has a part in, and 32,768 pages, of which
/// a core remembers a few thousand. An extension may have eight times as much, and is no slower for it: there
/// each load misses everything as well.
const REGION_BYTES: usize = 128 << 20;
/// Where the chase keeps its place, in the module's own page.
const PLACE: u64 = 8;
/// What a chase steps on: a cache line.
const LINE: usize = 64;
/// Where the runtime puts the first region: behind the module's page and the slots, of one page.
const FIRST_REGION: u64 = 2 * PAGE_BYTES as u64;
/// How often the body of a loop is repeated.
const UNROLLED: u64 = 64;

/// What the module's functions are numbered, imports first.
const NEXT_INDEX: u32 = 0;
const REGION_INDEX: u32 = 1;
const RELEASE_INDEX: u32 = 2;
const FIRST_PROBE: u32 = 3;

/// The region that the probe is loaded with: lines, linked in an order no processor guesses.
///
/// # Errors
/// [`RegionError`].
pub fn region() -> Result<Region, RegionError> {
    let chase = Region::create("probe-chase", REGION_BYTES)?;
    // A linear congruential generator of full period (Hull and Dobell): all lines, each once.
    let lines = u32::try_from(REGION_BYTES / LINE).unwrap_or(0);
    let line_bytes = u32::try_from(LINE).unwrap_or(0);
    for line in 0..lines {
        let next = line.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) % lines;
        // All of them are inside: `lines` is how many there are.
        let _ = chase.store_u32(line as usize * LINE, next * line_bytes);
    }
    Ok(chase)
}

/// The module, to be linked with the domains `core` and `buffer`, and loaded with [`region`].
pub fn module() -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I64], [ValType::I64]);
    types.ty().function([ValType::I32], [ValType::I64]);
    types.ty().function([ValType::I64], [ValType::I32]);
    types.ty().function([], []);

    let mut imports = ImportSection::new();
    imports.import("spine:core", NEXT.name, EntityType::Function(0));
    imports.import("spine:core", REGION.name, EntityType::Function(1));
    imports.import("spine:buffer", RELEASE.name, EntityType::Function(2));

    let bodies = [ordinary(), divisions(), square_roots(), subnormals(), calls(), chase()];
    let mut functions = FunctionSection::new();
    let mut code = CodeSection::new();
    for body in bodies.iter().chain([&run(), &init()]) {
        functions.function(3);
        code.function(body);
    }
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let after_probes = FIRST_PROBE + u32::try_from(PROBE_COUNT).unwrap_or(0);
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("run", ExportKind::Func, after_probes);
    exports.export("init", ExportKind::Func, after_probes + 1);

    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&memories);
    module.section(&exports).section(&code);
    let data = manifest_bytes();
    module.section(&CustomSection { name: SECTION.into(), data: data.as_slice().into() });
    module.finish()
}

fn manifest_bytes() -> [u8; manifest::FIXED_BYTES + PROBE_COUNT * manifest::HANDLER_BYTES] {
    let handlers: [HandlerDeclaration; PROBE_COUNT] = std::array::from_fn(|place| {
        let number = HandlerNumber(u16::try_from(place + 1).unwrap_or(0));
        HandlerDeclaration { number, prefix: 0, writeback: 0 }
    });
    manifest::build("probe", Domains::CORE.with(Domain::Buffer), 1, &handlers)
}

/// The loop over a burst: the handler number in the slot says which function is called.
fn run() -> Function {
    let mut function = Function::new([(1, ValType::I32)]);
    let mut code = function.instructions();
    code.loop_(BlockType::Empty);
    code.i64_const(0).call(NEXT_INDEX).i32_wrap_i64().local_tee(0);
    code.i32_eqz().if_(BlockType::Empty).return_().end();
    for (probe, number) in (FIRST_PROBE..).zip(1..=PROBE_COUNT) {
        code.local_get(0).i32_load16_u(at(0)).i32_const(i32::try_from(number).unwrap_or(0));
        code.i32_eq().if_(BlockType::Empty).call(probe).end();
    }
    code.br(0).end().end();
    function
}

/// Traps where the first region is not where the chase expects it: loading fails then.
fn init() -> Function {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    code.i32_const(0).call(REGION_INDEX).i32_wrap_i64();
    code.i32_const(i32::try_from(FIRST_REGION).unwrap_or(0)).i32_ne();
    code.if_(BlockType::Empty).unreachable().end().end();
    function
}

/// A function that repeats `body` for ever, on locals of these types.
fn forever(
    locals: &[(u32, ValType)],
    body: impl Fn(&mut InstructionSink<'_>, u64),
    once: impl Fn(&mut InstructionSink<'_>),
) -> Function {
    let mut function = Function::new(locals.iter().copied());
    let mut code = function.instructions();
    once(&mut code);
    code.loop_(BlockType::Empty);
    for round in 0..UNROLLED {
        body(&mut code, round);
    }
    code.br(0).end().end();
    function
}

fn ordinary() -> Function {
    let body = |code: &mut InstructionSink<'_>, _| {
        code.local_get(0).local_get(0).i64_const(13).i64_shl().i64_xor().local_set(0);
        code.local_get(0).local_get(0).i64_const(7).i64_shr_u().i64_xor().local_set(0);
    };
    forever(&[(1, ValType::I64)], body, |code| {
        code.i64_const(88_172_645_463_325_252).local_set(0);
    })
}

fn divisions() -> Function {
    let body = |code: &mut InstructionSink<'_>, _| {
        code.local_get(0).local_get(1).i64_div_u().i64_const(i64::MIN + 1).i64_or().local_set(0);
    };
    forever(&[(2, ValType::I64)], body, |code| {
        code.i64_const(-1).local_set(0).i64_const(3).local_set(1);
    })
}

fn square_roots() -> Function {
    let body = |code: &mut InstructionSink<'_>, _| {
        code.local_get(0).f64_sqrt().local_get(1).f64_add().local_set(0);
    };
    forever(&[(2, ValType::F64)], body, |code| {
        code.f64_const(1e300.into()).local_set(0).f64_const(1.5.into()).local_set(1);
    })
}

fn subnormals() -> Function {
    let body = |code: &mut InstructionSink<'_>, _| {
        code.local_get(0).local_get(1).f64_mul().local_set(0);
    };
    forever(&[(2, ValType::F64)], body, |code| {
        // The smallest normal number times a half is no longer one; times one it stays so.
        code.f64_const((f64::MIN_POSITIVE / 3.0).into()).local_set(0);
        code.f64_const(1.0.into()).local_set(1);
    })
}

fn calls() -> Function {
    let body = |code: &mut InstructionSink<'_>, _| {
        code.i64_const(-1).call(RELEASE_INDEX).drop();
    };
    forever(&[], body, |_| {})
}

/// Each load is the address of the next: nothing can be done ahead, and each costs three units.
///
/// It goes on where the last one was stopped. One that began again at the first line each time would be timed on lines
/// that are in the cache from the time before, which are a tenth as slow: whoever means it does not do that.
fn chase() -> Function {
    let mut function = Function::new([(1, ValType::I32)]);
    let mut code = function.instructions();
    code.i32_const(0).i32_load(at(PLACE)).local_set(0);
    code.loop_(BlockType::Empty).local_get(0);
    for _ in 0..UNROLLED {
        code.i32_load(at(FIRST_REGION));
    }
    code.local_set(0).i32_const(0).local_get(0).i32_store(at(PLACE)).br(0).end().end();
    function
}

const fn at(offset: u64) -> MemArg {
    MemArg { offset, align: 0, memory_index: 0 }
}

/// What one budget takes on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetTimes {
    /// Spent on plain instructions.
    pub ordinary: Duration,
    /// Spent in the worst way we know.
    pub worst: Duration,
    /// Which one that is.
    pub worst_way: &'static str,
}

impl BudgetTimes {
    /// From the nanoseconds an adapter measured, in the order of [`PROBES`]; `None` if it measured
    /// nothing.
    pub fn from_nanos(measured: &[u64]) -> Option<Self> {
        let ordinary = *measured.first()?;
        let (worst, worst_way) = measured.iter().zip(PROBES).max_by_key(|(nanos, _)| **nanos)?;
        let (ordinary, worst) = (Duration::from_nanos(ordinary), Duration::from_nanos(*worst));
        Some(Self { ordinary, worst, worst_way })
    }
}

impl fmt::Display for BudgetTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        write!(
            f,
            "one budget: ordinary {:.1} us, worst {:.1} us ({})",
            micros(self.ordinary),
            micros(self.worst),
            self.worst_way
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Policy;
    use crate::linker::Linker;
    use spine_client::signature::SecretKey;
    use std::collections::HashSet;

    #[test]
    fn the_module_links_with_the_domains_it_needs_and_no_more() {
        let granted = Domains::CORE.with(Domain::Buffer);
        let linker = Linker::new(SecretKey::from_seed(&[3; 32]), Policy::grant(granted)).unwrap();
        let image = linker.link(&module()).unwrap();
        let manifest = image.parts().unwrap().manifest;
        assert_eq!((manifest.handlers().count(), manifest.regions()), (PROBES.len(), 1));
    }

    #[test]
    fn the_chase_visits_every_line_before_it_comes_back() {
        let chase = region().unwrap();
        let (mut at, mut seen) = (0, HashSet::new());
        while seen.insert(at) {
            at = chase.load_u32(at as usize).unwrap();
        }
        assert_eq!((at, seen.len()), (0, REGION_BYTES / LINE));
    }

    #[test]
    fn the_worst_is_named() {
        let times = BudgetTimes::from_nanos(&[1_000, 2_000, 2_000, 3_000, 1_500, 270_000]);
        let text = times.unwrap().to_string();
        let expected = "one budget: ordinary 1.0 us, worst 270.0 us (a pointer chase through 128 MiB of cold memory)";
        assert_eq!(text, expected);
        assert_eq!(BudgetTimes::from_nanos(&[]), None);
    }
}
