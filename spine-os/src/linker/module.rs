//! A module, read once: what the linker's steps ask about.
//!
//! Reading validates: wasmparser checks every section and function body against the WebAssembly
//! specification and [`spine_engine::features`], so that what is in a [`Module`] is well-formed
//! (indices in range, types right). Whether it is *acceptable* is for the steps after it.
//!
//! Custom sections are the exception: nobody validates them. Names are hints for messages, except
//! that of the stack pointer, which is checked where it is used.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use spine_abi::limits::{
    BLOCKS, CARRIED, CARRIED_BY_ALL, CODE_BYTES, FUNCTION_BYTES, FUNCTIONS, ITEMS, LOCALS, MERGES,
    MODULE_BYTES, SEGMENT_ELEMENTS,
};
use spine_abi::manifest::SECTION;
use wasmparser::{
    BinaryReader, BinaryReaderError, BlockType, ConstExpr, ElementItems, Export, FuncType,
    FuncValidatorAllocations, FunctionBody, GlobalType, Import, MemoryType, Name,
    NameSectionReader, Operator, Parser, Payload, TableInit, TableType, TypeRef, ValidPayload,
    Validator,
};
use wasmtime::OperatorCost;

use crate::linker::carried::Carried;
use crate::linker::checks;
use crate::linker::error::LinkError;
use crate::linker::name::printable;

/// What was read.
#[derive(Default)]
pub(crate) struct Module<'a> {
    /// All function types.
    pub types: Vec<FuncType>,
    /// All imports.
    pub imports: Vec<Import<'a>>,
    /// For each function, imported ones first, the index of its type.
    pub functions: Vec<u32>,
    /// All tables.
    pub tables: Vec<TableType>,
    /// All memories.
    pub memories: Vec<MemoryType>,
    /// All globals.
    pub globals: Vec<GlobalType>,
    /// All exports.
    pub exports: Vec<Export<'a>>,
    /// The start function.
    pub start: Option<u32>,
    /// What each defined function does, as far as linking goes.
    pub bodies: Vec<Body>,
    /// Functions used as values: in element segments, global initialisers, or by `ref.func`.
    pub values: BTreeSet<u32>,
    /// Custom sections with the manifest's name.
    pub manifests: Vec<&'a [u8]>,
    /// All sections but custom ones, in order: number and place in the file.
    pub sections: Vec<(u8, Range<usize>)>,
    costs: OperatorCost,
    /// Functions that have a body.
    defined: usize,
    /// What a compiler has to merge, so far: see [`Merges`].
    merges: usize,
    /// What loops carry round, so far.
    carried: usize,
    function_names: BTreeMap<u32, &'a str>,
    global_names: BTreeMap<u32, &'a str>,
}

/// How many ways between blocks a loop is to a compiler.
const LOOP: usize = 16;
/// How many one of several results of a call is.
const RESULT: usize = 64;

/// What a compiler has to merge: on each way from one block to another, a value of each variable and of each
/// operand that goes along.
///
/// Its time goes with this number, and a few bytes make it large: a branch of three bytes for each of a thousand
/// locals, a branch table with a thousand targets, a call that returns a thousand values. So it is counted before
/// anything is compiled.
#[derive(Default)]
struct Merges {
    /// Ways between blocks: each block is one, a loop [`LOOP`], and each target of a branch.
    ways: usize,
    /// The most operands that go along one of them.
    widest: usize,
    /// Parameters and results of calls.
    passed: usize,
}

impl Merges {
    /// For a function with so many locals, parameters included.
    fn count(&self, locals: usize) -> usize {
        let each = locals.saturating_add(self.widest);
        self.ways.saturating_mul(each).saturating_add(self.passed)
    }
}

/// What a function does, as far as linking goes.
#[derive(Default)]
pub(crate) struct Body {
    /// Functions it calls.
    pub calls: BTreeSet<u32>,
    /// Types of the functions it calls through a table.
    pub indirect: BTreeSet<u32>,
    /// The first instruction in it that extensions may not use, and why.
    pub refused: Option<(&'static str, &'static str)>,
    /// The most blocks inside each other.
    deepest: usize,
    merges: Merges,
    /// What its loops carry round.
    carried: usize,
    /// Where it is in the file, its locals included.
    pub place: Range<usize>,
    /// Before which instructions a look at the fuel is missing.
    pub looks: Vec<usize>,
}

fn malformed(error: BinaryReaderError) -> LinkError {
    LinkError::Malformed(printable(error.message()) + &format!(" (at byte {})", error.offset()))
}

fn limit(what: &'static str, found: usize, limit: usize) -> Result<(), LinkError> {
    if found > limit {
        return Err(LinkError::OverLimit { what, found: found as u64, limit: limit as u64 });
    }
    Ok(())
}

impl<'a> Module<'a> {
    /// Reads and validates a module.
    ///
    /// # Errors
    /// [`LinkError::OverLimit`] before any work on what is too large; [`LinkError::Malformed`].
    pub(crate) fn read(wasm: &'a [u8]) -> Result<Self, LinkError> {
        limit("bytes of the module", wasm.len(), MODULE_BYTES)?;
        let mut module = Self { costs: spine_engine::operator_cost(), ..Self::default() };
        let features = spine_engine::features();
        let mut validator = Validator::new_with_features(features);
        let mut parser = Parser::new(0);
        parser.set_features(features);
        let mut allocations = FuncValidatorAllocations::default();
        for payload in parser.parse_all(wasm) {
            let payload = payload.map_err(malformed)?;
            if let ValidPayload::Func(function, body) =
                validator.payload(&payload).map_err(malformed)?
            {
                let mut checker = function.into_validator(allocations);
                checker.validate(&body).map_err(malformed)?;
                allocations = checker.into_allocations();
            }
            module.take(&payload)?;
        }
        Ok(module)
    }

    /// Bytes of its code.
    pub(crate) fn code_bytes(&self) -> usize {
        const CODE: u8 = 10;
        self.sections.iter().filter(|(number, _)| *number == CODE).map(|(_, at)| at.len()).sum()
    }

    /// Takes what is needed out of a payload that was validated.
    fn take(&mut self, payload: &Payload<'a>) -> Result<(), LinkError> {
        count(payload)?;
        match payload {
            Payload::CodeSectionStart { count, size, .. } => {
                limit("bytes of code", *size as usize, CODE_BYTES)?;
                limit("functions", self.functions.len().max(*count as usize), FUNCTIONS)?;
                self.defined = *count as usize;
            }
            Payload::CustomSection(custom) if custom.name() == SECTION => {
                self.manifests.push(custom.data());
            }
            Payload::CustomSection(custom) if custom.name() == "name" => {
                let reader = BinaryReader::new(custom.data(), custom.data_offset());
                self.take_names(NameSectionReader::new(reader));
            }
            Payload::CodeSectionEntry(function) => {
                let place = function.range();
                limit("bytes of a function", place.len(), FUNCTION_BYTES)?;
                let locals = locals(function).map_err(malformed)?;
                limit("locals of a function", locals, LOCALS)?;
                let body = self.take_body(function.get_operators_reader().map_err(malformed)?);
                let body = body.map_err(malformed)?;
                limit("blocks inside each other", body.deepest, BLOCKS)?;
                let before = self.functions.len().saturating_sub(self.defined);
                let index = u32::try_from(before + self.bodies.len()).unwrap_or(u32::MAX);
                let parameters = self.function_type(index);
                let locals = locals + parameters.map_or(0, |ty| ty.params().len());
                self.merges = self.merges.saturating_add(body.merges.count(locals));
                limit("locals times branches", self.merges, MERGES)?;
                limit("locals carried round by the loops of a function", body.carried, CARRIED)?;
                self.carried += body.carried;
                limit("locals carried round by loops", self.carried, CARRIED_BY_ALL)?;
                let looks = checks::missing(function, &self.costs).map_err(malformed)?;
                self.bodies.push(Body { place, looks, ..body });
            }
            Payload::StartSection { func, .. } => self.start = Some(*func),
            section => self.take_section(section).map_err(malformed)?,
        }
        if !matches!(payload, Payload::CustomSection(_)) {
            self.sections.extend(payload.as_section());
        }
        Ok(())
    }

    fn take_section(&mut self, payload: &Payload<'a>) -> wasmparser::Result<()> {
        match payload {
            Payload::TypeSection(types) => {
                for ty in types.clone().into_iter_err_on_gc_types() {
                    self.types.push(ty?);
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    let import = import?;
                    if let TypeRef::Func(ty) | TypeRef::FuncExact(ty) = import.ty {
                        self.functions.push(ty);
                    }
                    self.imports.push(import);
                }
            }
            Payload::FunctionSection(functions) => {
                for ty in functions.clone() {
                    self.functions.push(ty?);
                }
            }
            Payload::TableSection(tables) => {
                for table in tables.clone() {
                    let table = table?;
                    if let TableInit::Expr(init) = &table.init {
                        self.take_constant(init)?;
                    }
                    self.tables.push(table.ty);
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories.clone() {
                    self.memories.push(memory?);
                }
            }
            Payload::GlobalSection(globals) => {
                for global in globals.clone() {
                    let global = global?;
                    self.take_constant(&global.init_expr)?;
                    self.globals.push(global.ty);
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports.clone() {
                    self.exports.push(export?);
                }
            }
            Payload::ElementSection(elements) => {
                for element in elements.clone() {
                    match element?.items {
                        ElementItems::Functions(functions) => {
                            for function in functions {
                                self.values.insert(function?);
                            }
                        }
                        ElementItems::Expressions(_, expressions) => {
                            for expression in expressions {
                                self.take_constant(&expression?)?;
                            }
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Notes the functions that a constant expression refers to.
    fn take_constant(&mut self, expression: &ConstExpr<'a>) -> wasmparser::Result<()> {
        for operator in expression.get_operators_reader() {
            if let Operator::RefFunc { function_index } = operator? {
                self.values.insert(function_index);
            }
        }
        Ok(())
    }

    fn take_body(
        &mut self,
        operators: wasmparser::OperatorsReader<'a>,
    ) -> wasmparser::Result<Body> {
        const MEMORY: &str = "an extension's memory is fixed when it is loaded";
        const TABLE: &str = "tables are fixed, so that the linker can see every call";
        let (mut body, mut open) = (Body::default(), 0_usize);
        let mut carried = Carried::new(CARRIED);
        for operator in operators {
            let operator = operator?;
            carried.step(&operator);
            let refused = match operator {
                Operator::Block { blockty }
                | Operator::Loop { blockty }
                | Operator::If { blockty } => {
                    open += 1;
                    body.deepest = body.deepest.max(open);
                    let is_loop = matches!(operator, Operator::Loop { .. });
                    body.merges.ways += if is_loop { LOOP } else { 1 };
                    body.merges.widest = body.merges.widest.max(self.operands(blockty));
                    continue;
                }
                Operator::Br { .. } | Operator::BrIf { .. } => {
                    body.merges.ways += 1;
                    continue;
                }
                Operator::BrTable { ref targets } => {
                    body.merges.ways = body.merges.ways.saturating_add(targets.len() as usize + 1);
                    continue;
                }
                Operator::End => {
                    open = open.saturating_sub(1);
                    continue;
                }
                Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                    body.calls.insert(function_index);
                    let callee = self.function_type(function_index);
                    body.merges.passed += callee.map_or(0, passed);
                    continue;
                }
                Operator::CallIndirect { type_index, .. }
                | Operator::ReturnCallIndirect { type_index, .. } => {
                    body.indirect.insert(type_index);
                    body.merges.passed += self.types.get(type_index as usize).map_or(0, passed);
                    continue;
                }
                Operator::RefFunc { function_index } => {
                    self.values.insert(function_index);
                    continue;
                }
                Operator::MemoryGrow { .. } => ("memory.grow", MEMORY),
                Operator::TableSet { .. } => ("table.set", TABLE),
                Operator::TableGrow { .. } => ("table.grow", TABLE),
                Operator::TableFill { .. } => ("table.fill", TABLE),
                Operator::TableCopy { .. } => ("table.copy", TABLE),
                Operator::TableInit { .. } => ("table.init", TABLE),
                _ => continue,
            };
            body.refused.get_or_insert(refused);
        }
        body.carried = carried.count();
        Ok(body)
    }

    /// Operands that go into a block or out of it.
    fn operands(&self, ty: BlockType) -> usize {
        match ty {
            BlockType::Empty => 0,
            BlockType::Type(_) => 1,
            BlockType::FuncType(index) => self.types.get(index as usize).map_or(0, operands),
        }
    }

    /// Takes the names that can be read; the rest of a broken section is ignored.
    fn take_names(&mut self, names: NameSectionReader<'a>) {
        for name in names.into_iter().map_while(Result::ok) {
            let (map, into) = match name {
                Name::Function(map) => (map, &mut self.function_names),
                Name::Global(map) => (map, &mut self.global_names),
                _ => continue,
            };
            for naming in map.into_iter().map_while(Result::ok) {
                into.entry(naming.index).or_insert(naming.name);
            }
        }
    }

    /// Number of imported functions: the first ones.
    pub(crate) fn imported_functions(&self) -> usize {
        self.functions.len() - self.bodies.len()
    }

    /// The type of a function.
    pub(crate) fn function_type(&self, function: u32) -> Option<&FuncType> {
        self.types.get(*self.functions.get(function as usize)? as usize)
    }

    /// The function's import, if it is one.
    pub(crate) fn imported(&self, function: u32) -> Option<&Import<'a>> {
        let functions = self
            .imports
            .iter()
            .filter(|import| matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)));
        functions.into_iter().nth(function as usize)
    }

    /// Globals that the name section calls `name`.
    pub(crate) fn globals_named(&self, name: &str) -> impl Iterator<Item = u32> {
        self.global_names.iter().filter(move |(_, n)| **n == name).map(|(index, _)| *index)
    }

    /// What to call a function in a message.
    pub(crate) fn function_name(&self, function: u32) -> String {
        if let Some(import) = self.imported(function) {
            return symbol(import);
        }
        let exported = || {
            let mut exports = self.exports.iter();
            exports
                .find(|e| e.kind == wasmparser::ExternalKind::Func && e.index == function)
                .map(|export| export.name)
        };
        match self.function_names.get(&function).copied().or_else(exported) {
            Some(name) => printable(name),
            None => format!("function {function}"),
        }
    }
}

/// Limits what a section may have.
fn count(payload: &Payload<'_>) -> Result<(), LinkError> {
    let (what, items) = match payload {
        Payload::TypeSection(section) => ("types", section.count()),
        Payload::ImportSection(section) => ("imports", section.count()),
        Payload::GlobalSection(section) => ("globals", section.count()),
        Payload::ExportSection(section) => ("exports", section.count()),
        Payload::DataSection(section) => ("segments of data", section.count()),
        Payload::ElementSection(section) => {
            let mut elements = 0;
            for segment in section.clone() {
                elements += match segment.map_err(malformed)?.items {
                    ElementItems::Functions(items) => items.count() as usize,
                    ElementItems::Expressions(_, items) => items.count() as usize,
                };
                limit("elements of segments", elements, SEGMENT_ELEMENTS)?;
            }
            ("segments of elements", section.count())
        }
        _ => return Ok(()),
    };
    limit(what, items as usize, ITEMS)
}

/// What the values of a call are to a compiler: each result beyond the one that a register holds is a place in memory.
fn passed(ty: &FuncType) -> usize {
    let results = ty.results().len();
    ty.params().len() + if results > 1 { RESULT * results } else { results }
}

/// Parameters and results.
fn operands(ty: &FuncType) -> usize {
    ty.params().len() + ty.results().len()
}

fn locals(function: &FunctionBody<'_>) -> wasmparser::Result<usize> {
    function
        .get_locals_reader()?
        .into_iter()
        .try_fold(0_usize, |locals, group| Ok(locals.saturating_add(group?.0 as usize)))
}

/// What to call an import in a message.
pub(crate) fn symbol(import: &Import<'_>) -> String {
    format!("{}.{}", printable(import.module), printable(import.name))
}
