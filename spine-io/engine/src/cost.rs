//! What each instruction costs, in fuel.
//!
//! Fuel bounds work, and time only as well as one unit stands for the same time everywhere. One unit
//! is about a simple instruction in straight code: measured, 0.06 ns in a chain of additions, and 0.06
//! to 0.25 ns in loops of division, loads, stores, calls or bulk memory under these weights. Weights go where one instruction can take far
//! longer: memory that may not be in a cache, division, calls. They do not try to cover the worst
//! (a load that misses every cache takes a hundred times longer still): the adapter times the worst
//! at start and says so.

use wasmtime::OperatorCost;

/// A load or store that stays in the cache costs more than an addition, and one that does not costs
/// much more.
const MEMORY: u8 = 3;
/// Integer division: as long as 20 additions in a row on recent processors, more on older ones.
const DIVISION: u8 = 20;
/// Floating-point division and square root, which nothing else hides in a chain of them.
const FLOAT_DIVISION: u8 = 30;
/// A call saves registers and checks the stack.
const CALL: u8 = 4;
/// A call through a table also checks index and type, and may be mispredicted.
const CALL_INDIRECT: u8 = 10;
/// Bulk memory may leave the compiled code; the bytes are charged besides, one unit each.
const BULK: u8 = 10;
/// What the linker refuses; charged in full should it ever be allowed.
const REFUSED: u8 = u8::MAX;

macro_rules! set {
    ($table:ident, $cost:expr, $($operator:ident)*) => { $($table.$operator = $cost;)* };
}

/// The weights; a plain instruction is 1, structure (`block`, `loop`, `end`) and `drop` are free.
pub fn operator_cost() -> OperatorCost {
    let mut table = OperatorCost::new();
    set!(table, MEMORY, I32Load I64Load F32Load F64Load I32Load8S I32Load8U I32Load16S I32Load16U);
    set!(table, MEMORY, I64Load8S I64Load8U I64Load16S I64Load16U I64Load32S I64Load32U);
    set!(table, MEMORY, I32Store I64Store F32Store F64Store I32Store8 I32Store16 I64Store8);
    set!(table, MEMORY, I64Store16 I64Store32 V128Load V128Load8x8S V128Load8x8U V128Load16x4S);
    set!(table, MEMORY, V128Load16x4U V128Load32x2S V128Load32x2U V128Load8Splat V128Load16Splat);
    set!(table, MEMORY, V128Load32Splat V128Load64Splat V128Load32Zero V128Load64Zero V128Store);
    set!(table, MEMORY, V128Load8Lane V128Load16Lane V128Load32Lane V128Load64Lane);
    set!(table, MEMORY, V128Store8Lane V128Store16Lane V128Store32Lane V128Store64Lane);

    set!(table, DIVISION, I32DivS I32DivU I32RemS I32RemU I64DivS I64DivU I64RemS I64RemU);
    set!(table, FLOAT_DIVISION, F32Div F64Div F32Sqrt F64Sqrt F32x4Div F64x2Div F32x4Sqrt F64x2Sqrt);

    set!(table, CALL, Call ReturnCall);
    set!(table, CALL_INDIRECT, CallIndirect ReturnCallIndirect CallRef ReturnCallRef BrTable);

    set!(table, BULK, MemoryCopy MemoryFill MemoryInit DataDrop);
    set!(table, REFUSED, MemoryGrow TableGrow TableFill TableCopy TableInit TableSet TableGet);
    table.variable.memory_grow_per_page = REFUSED;
    table
}
