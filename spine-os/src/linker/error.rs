//! Why a module is refused: a sentence each, naming what and where.
//!
//! All of them are the extension's fault, or the policy's, except [`LinkError::Compiler`] and
//! [`LinkError::Engine`].

use spine_abi::manifest::{ABI_VERSION, SECTION};
use thiserror::Error;

/// Why a module was not linked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Something is over its limit.
    #[error("{what}: {found}, and the limit is {limit}")]
    OverLimit {
        /// What was counted, with its unit.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many there may be.
        limit: u64,
    },
    /// The bytes are no module, or use a proposal that is not supported.
    #[error("not a WebAssembly module that can be linked: {0}")]
    Malformed(String),
    /// No manifest.
    #[error("no custom section `{SECTION}`: an extension is built with spine-sdk, which writes it")]
    NoManifest,
    /// More than one manifest.
    #[error("{0} custom sections `{SECTION}`, where one says what the extension is")]
    ManyManifests(usize),
    /// A manifest that is not sound.
    #[error(
        "the manifest is not a sound one of ABI version {ABI_VERSION}: build the extension with the spine-sdk of this version"
    )]
    BadManifest,
    /// The manifest asks for what the policy does not grant.
    #[error(
        "the extension `{extension}` asks for the domain `{domain}`, which the policy does not grant; granted: {granted}"
    )]
    DomainRefused {
        /// The extension's name.
        extension: String,
        /// The first domain that is not granted.
        domain: &'static str,
        /// What is.
        granted: String,
    },
    /// An import that no domain has.
    #[error(
        "cannot resolve the import `{symbol}`: no domain has such an interface; domains tried: {tried}"
    )]
    UnknownImport {
        /// Module and name, as imported.
        symbol: String,
        /// The domains granted.
        tried: String,
    },
    /// An import from a domain that exists but was not granted.
    #[error(
        "cannot resolve the import `{symbol}`: it is the interface `{interface}` of the domain `{domain}`, which the extension's manifest does not ask for; domains tried: {tried}"
    )]
    UngrantedImport {
        /// Module and name, as imported.
        symbol: String,
        /// The interface's name.
        interface: &'static str,
        /// Its domain.
        domain: &'static str,
        /// The domains granted.
        tried: String,
    },
    /// An import from a domain that no extension exports.
    #[error(
        "cannot resolve the import `{symbol}`: no domain has such an interface; domains tried: {tried} (a domain `{domain}` would be another extension's: it must be loaded on the same adapter before)"
    )]
    DomainMissing {
        /// Module and name, as imported.
        symbol: String,
        /// The domain.
        domain: String,
        /// The domains granted.
        tried: String,
    },
    /// An import from a domain that an extension exports, but not for this one.
    #[error(
        "cannot resolve the import `{symbol}`: an extension exports the domain `{domain}`, and the policy does not grant it; domains tried: {tried}"
    )]
    DomainUngranted {
        /// Module and name, as imported.
        symbol: String,
        /// The domain.
        domain: String,
        /// The domains granted.
        tried: String,
    },
    /// An import that an exported domain does not have.
    #[error(
        "cannot resolve the import `{symbol}`: the domain `{domain}` that another extension exports has {has}; domains tried: {tried}"
    )]
    InterfaceUnknown {
        /// Module and name, as imported.
        symbol: String,
        /// The domain.
        domain: String,
        /// The interfaces it has.
        has: String,
        /// The domains granted.
        tried: String,
    },
    /// The domain that the extension exports has the name of one of the runtime's.
    #[error(
        "the extension exports a domain `{0}`, and that is a domain of the runtime: choose another name"
    )]
    DomainBuiltIn(String),
    /// An interface that the manifest declares is not there.
    #[error(
        "the manifest declares the interface `{0}`, and the module exports no function of that name"
    )]
    InterfaceMissing(String),
    /// An interface is there with another type.
    #[error(
        "the manifest declares the interface `{symbol}` as {expected}, and the module's export is {found}"
    )]
    InterfaceType {
        /// Domain and interface.
        symbol: String,
        /// Its type by the manifest.
        expected: String,
        /// Its type in the module.
        found: String,
    },
    /// An extension would be called back by what it calls.
    #[error(
        "the extension exports the domain `{domain}` and is linked against `{through}`, whose own calls lead back to `{domain}`: calls may not go in a circle"
    )]
    Circle {
        /// What it exports.
        domain: String,
        /// What it imports.
        through: String,
    },
    /// Calls through too many extensions.
    #[error(
        "the domain `{domain}` leads through other extensions to a depth of more than {limit}, this one included: that many native stacks an adapter has"
    )]
    TooDeep {
        /// What it imports.
        domain: String,
        /// The most there may be.
        limit: usize,
    },
    /// The import exists with other parameters or results.
    #[error(
        "the import `{symbol}` has the wrong signature: the interface is {expected}, the module declares {found}"
    )]
    WrongSignature {
        /// Module and name, as imported.
        symbol: String,
        /// The interface's type.
        expected: String,
        /// The module's type.
        found: String,
    },
    /// A memory, table or global is imported.
    #[error("the import `{symbol}` is a {kind}: only functions can be imported")]
    ImportKind {
        /// Module and name, as imported.
        symbol: String,
        /// What it is.
        kind: &'static str,
    },
    /// A start function runs at no time the runtime could guard.
    #[error("the module has a start function (`{0}`): initialise in the export `init` instead")]
    StartFunction(String),
    /// No memory, or several.
    #[error("the module defines {0} memories, where exactly one is needed")]
    Memories(usize),
    /// The memory is not exported under its name.
    #[error("the memory is not exported as `memory`")]
    MemoryNotExported,
    /// A declared maximum.
    #[error(
        "the memory declares a maximum of {0} pages: leave the maximum out, since the adapter adds slots and regions behind the extension's own memory"
    )]
    MemoryMaximum(u64),
    /// Something is exported that must not be.
    #[error("the export `{name}` is a {kind}, which may not be exported")]
    Export {
        /// Its name.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// An entry is missing.
    #[error("the module does not export the function `run`, the loop over a burst")]
    NoRun,
    /// An entry has another type.
    #[error("the export `{name}` must be a function of type () -> (), not {found}")]
    EntryType {
        /// `run` or `init`.
        name: &'static str,
        /// What it is.
        found: String,
    },
    /// An instruction that extensions may not use.
    #[error("the function `{function}` uses {instruction}: {reason}")]
    Instruction {
        /// The function.
        function: String,
        /// The instruction, as in the text format.
        instruction: &'static str,
        /// Why it is refused.
        reason: &'static str,
    },
    /// The stack pointer cannot be found.
    #[error(
        "the module has {0} mutable i32 globals, and none is named or exported `__stack_pointer`: the runtime must know which to restore when it stops a handler; keep the name section (do not strip), or export the global"
    )]
    StackPointerUnknown(usize),
    /// What is called the stack pointer is none.
    #[error("the export `__stack_pointer` is not a mutable i32 global of the module")]
    StackPointerType,
    /// A handler reaches an interface during which it may not be stopped (SPINE 3.3.2).
    #[error(
        "`{interface}` is not ephemeral, and may be called from `init` only; a handler reaches it: {path}"
    )]
    NotEphemeral {
        /// The interface.
        interface: String,
        /// From the export to the interface.
        path: String,
    },
    /// A non-ephemeral import can be called through a table.
    #[error(
        "`{interface}` is not ephemeral, and may be called from `init` only; the module also uses it as a value (in a table or by ref.func)"
    )]
    NotEphemeralValue {
        /// The interface.
        interface: String,
    },
    /// The compiler refused or failed.
    #[error("the module could not be compiled: {0}")]
    Compiler(String),
    /// This machine has no compiler.
    #[error("no compiler for this machine: {0}")]
    Engine(String),
}
