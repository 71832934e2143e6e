//! Extensions in the text format, read from their folders and linked.
//!
//! The first lines of each say what it is given and what must become of it:
//! `;; domains: host, peer` (besides core), `;; handlers: 1, 12` (default 11 and 12), `;; regions: 1`
//! (default none) and `;; fate: KIND DETAIL`. A line that ends with `;; times N` stands there N times.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use spine_abi::HandlerNumber;
use spine_abi::interface::{Domain, Domains};
use spine_abi::manifest::{FIXED_BYTES, HANDLER_BYTES, HandlerDeclaration, build};
use spine_client::signature::SecretKey;
use spine_io::TrustedKey;
use spine_os::domain::{Exports, Policy};
use spine_os::linker::{LinkError, Linker};

/// Bytes of a packet that every handler sees, and writes back.
pub(crate) const PREFIX: u16 = 64;

/// What must become of an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The linker refuses it with a message that holds this.
    Unlinkable(String),
    /// The adapter refuses to load it with a message that holds this.
    Unloadable(String),
    /// Each call costs a strike, until it is unloaded; its last offence.
    Struck(String),
    /// Its messages are dropped under this reason.
    Dropped(String),
    /// Every call of its misdeed is answered by an error: it says so itself, by the verdict "done".
    Answered,
    /// What it sends or keeps beyond its share is counted under this reason.
    Bounded(String),
    /// Nothing: it breaks no rule, it only takes all the time it may.
    Slow,
}

/// An extension from a folder.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) fate: Fate,
    text: String,
    wasm: Vec<u8>,
}

impl Case {
    /// The same with other handler numbers, so that several can live on one adapter.
    pub(crate) fn with_handlers(mut self, handlers: [u16; 2]) -> Self {
        self.wasm = module(&self.name, &self.text, handlers, &[]);
        self
    }

    /// One that is made, not read: its text says what it is given, as a file's does.
    pub(crate) fn made(name: &str, text: String, handlers: [u16; 2]) -> Self {
        let wasm = module(name, &text, handlers, &[]);
        Self { name: name.to_owned(), fate: Fate::Slow, text, wasm }
    }

    /// Its image.
    pub(crate) fn link(&self) -> Result<Vec<u8>, LinkError> {
        linker().link(&self.wasm).map(spine_os::linker::SignedImage::into_bytes)
    }
}

/// One linker for all: making the compiler takes longer than using it.
pub(crate) fn linker() -> &'static Linker {
    static LINKER: OnceLock<Linker> = OnceLock::new();
    LINKER.get_or_init(|| {
        let key = SecretKey::generate().expect("randomness");
        Linker::new(key, Policy::everything()).expect("a compiler for this machine")
    })
}

/// The key adapters trust.
pub(crate) fn key() -> TrustedKey {
    TrustedKey::from_bytes(&linker().public().to_bytes()).expect("a key")
}

/// All extensions that misbehave, by name.
pub(crate) fn cases() -> Vec<Case> {
    let folder = root().join("extensions");
    let mut folders: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder of extensions")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders.iter().map(|folder| read(&folder.join("extension.wat"))).collect()
}

/// The one in `extensions/NAME`.
pub(crate) fn case(name: &str) -> Case {
    read(&root().join("extensions").join(name).join("extension.wat"))
}

/// The image of a well-behaved extension, `safety/good/NAME.wat`, with handlers 1 and 2 unless
/// it says otherwise.
pub(crate) fn good(name: &str) -> Vec<u8> {
    let path = root().join("safety/good").join(format!("{name}.wat"));
    let text = text(&path);
    let numbers = header(&text, "handlers").map_or([1, 2], numbers);
    let wasm = module(name, &text, numbers, &[]);
    linker().link(&wasm).unwrap_or_else(|error| panic!("{name}: {error}")).into_bytes()
}

/// The image of `safety/linked/NAME.wat`, which exports the domain of this declaration, and is linked against
/// those.
pub(crate) fn linked(name: &str, exports: &[u8], against: &Exports) -> Vec<u8> {
    let text = text(&root().join("safety/linked").join(format!("{name}.wat")));
    let handlers = header(&text, "handlers").map(numbers).expect("two numbers");
    let wasm = module(name, &text, handlers, exports);
    let linked = linker().link_against(&wasm, against);
    linked.unwrap_or_else(|error| panic!("{name}: {error}")).into_bytes()
}

/// The folder `tests`.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read(path: &Path) -> Case {
    let text = text(path);
    let folder = path.parent().and_then(Path::file_name).expect("a folder");
    let name = folder.to_string_lossy().into_owned();
    let handlers = header(&text, "handlers").map_or([11, 12], numbers);
    let fate = header(&text, "fate").unwrap_or_else(|| panic!("{name}: no fate"));
    let (kind, detail) = fate.split_once(' ').unwrap_or((fate, ""));
    let detail = detail.to_owned();
    let fate = match kind {
        "unlinkable" => Fate::Unlinkable(detail),
        "unloadable" => Fate::Unloadable(detail),
        "struck" => Fate::Struck(detail),
        "dropped" => Fate::Dropped(detail),
        "answered" => Fate::Answered,
        "bounded" => Fate::Bounded(detail),
        "slow" => Fate::Slow,
        other => panic!("{name}: no such fate: {other}"),
    };
    Case { wasm: module(&name, &text, handlers, &[]), name, fate, text }
}

fn numbers(list: &str) -> [u16; 2] {
    let (packets, messages) = list.split_once(", ").expect("two numbers");
    [packets, messages].map(|number| number.parse().expect("a number"))
}

fn header<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let start = format!(";; {key}: ");
    text.lines().find_map(|line| line.strip_prefix(&start))
}

/// The module with its manifest, which is put before the last parenthesis.
fn module(name: &str, text: &str, handlers: [u16; 2], exports: &[u8]) -> Vec<u8> {
    const LENGTH: usize = FIXED_BYTES + 2 * HANDLER_BYTES;
    let domains = header(text, "domains").unwrap_or_default();
    let domains =
        domains.split(", ").filter(|name| !name.is_empty()).fold(Domains::CORE, |set, domain| {
            set.with(Domain::from_name(domain).unwrap_or_else(|| panic!("{name}: {domain}")))
        });
    let handlers = handlers.map(|number| HandlerDeclaration {
        number: HandlerNumber(number),
        prefix: PREFIX,
        writeback: PREFIX,
    });
    let regions = header(text, "regions").map_or(0, |count| count.parse().expect("a number"));
    let mut manifest = build::<LENGTH>(name, domains, regions, &handlers).to_vec();
    manifest[14..16].copy_from_slice(&u16::try_from(exports.len()).expect("short").to_le_bytes());
    manifest.extend_from_slice(exports);
    let section: String = manifest.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let text = repeated(text);
    let end = text.rfind(')').expect("a module");
    let whole = format!("{}(@custom \"spine.manifest\" \"{section}\"))", &text[..end]);
    wat::parse_str(&whole).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The text with each line that says so as often as it says.
fn repeated(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once(";; times ") {
        Some((line, times)) => format!("{line}\n").repeat(times.trim().parse().expect("a number")),
        None => format!("{line}\n"),
    });
    lines.collect()
}
