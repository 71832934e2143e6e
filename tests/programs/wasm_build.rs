//! What comes out is what the runtime takes in: built for real, and read with a parser.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use spine_abi::interface::{
    self, EXPORT_INIT, EXPORT_MEMORY, EXPORT_RUN, EXPORT_STACK_POINTER, INTERFACES, Interface,
};
use spine_abi::manifest::{Manifest, SECTION};
use wasmparser::{CompositeInnerType, FuncType, Parser, Payload, TypeRef, ValType};

/// What a module says of itself.
#[derive(Default)]
struct Module {
    types: Vec<FuncType>,
    imports: Vec<(String, String, u32)>,
    exports: BTreeSet<String>,
    pages: u64,
    tables: u32,
    data_bytes: usize,
    manifest: Vec<u8>,
}

impl Module {
    fn build(package: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../wasm-build");
        let path = spine_wasm_build::build(package, &folder).expect("the extension builds");
        Self::read(&fs::read(path).expect("the module is there"))
    }

    fn read(bytes: &[u8]) -> Self {
        wasmparser::validate(bytes).expect("a valid module");
        let mut module = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            module.take(payload.expect("validated before"));
        }
        module
    }

    fn take(&mut self, payload: Payload<'_>) {
        match payload {
            Payload::TypeSection(types) => {
                for group in types {
                    for kind in group.unwrap().types() {
                        if let CompositeInnerType::Func(function) = &kind.composite_type.inner {
                            self.types.push(function.clone());
                        }
                    }
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.unwrap();
                    let TypeRef::Func(kind) = import.ty else { panic!("{import:?}") };
                    self.imports.push((import.module.to_owned(), import.name.to_owned(), kind));
                }
            }
            Payload::ExportSection(exports) => {
                self.exports.extend(exports.into_iter().map(|e| e.unwrap().name.to_owned()));
            }
            Payload::MemorySection(memories) => {
                self.pages = memories.into_iter().map(|memory| memory.unwrap().initial).sum();
            }
            Payload::TableSection(tables) => self.tables = tables.count(),
            Payload::DataSection(data) => {
                self.data_bytes = data.into_iter().map(|segment| segment.unwrap().data.len()).sum();
            }
            Payload::CustomSection(section) if section.name() == SECTION => {
                self.manifest = section.data().to_vec();
            }
            _ => {}
        }
    }

    /// Every import is one of the ABI's, with its type, in a domain that the manifest asks for.
    fn check_imports(&self) {
        let domains = Manifest::parse(&self.manifest).unwrap().domains();
        for (module, name, kind) in &self.imports {
            let known = |i: &&Interface| {
                format!("{}{}", interface::MODULE_PREFIX, i.domain.name()) == *module
                    && i.name == name
            };
            let interface = INTERFACES.iter().find(known).unwrap_or_else(|| {
                panic!("the runtime exports no {module}.{name}");
            });
            assert!(domains.contains(interface.domain), "{module}.{name} is not asked for");
            let values = |types: &[interface::Value]| -> Vec<ValType> {
                let value = |value: &interface::Value| match value {
                    interface::Value::I32 => ValType::I32,
                    interface::Value::I64 => ValType::I64,
                };
                types.iter().map(value).collect()
            };
            let function = &self.types[*kind as usize];
            assert_eq!(function.params(), values(interface.parameters), "{module}.{name}");
            assert_eq!(function.results(), values(interface.result.as_slice()), "{module}.{name}");
        }
    }

    fn names(&self) -> Vec<&str> {
        self.imports.iter().map(|(_, name, _)| name.as_str()).collect()
    }
}

#[test]
fn the_example_is_a_module_of_the_runtimes() {
    let module = Module::build("spine-hello");
    let manifest = Manifest::parse(&module.manifest).unwrap();
    assert_eq!((manifest.name(), manifest.regions()), ("hello", 0));
    module.check_imports();
    assert_eq!(module.names(), ["add_handler", "next", "send"]);
    for export in [EXPORT_RUN, EXPORT_INIT, EXPORT_MEMORY, EXPORT_STACK_POINTER] {
        assert!(module.exports.contains(export), "{export} in {:?}", module.exports);
    }
}

#[test]
fn the_router_has_one_page_no_table_and_nothing_to_say_in_a_panic() {
    let module = Module::build("spine-router-extension");
    module.check_imports();
    assert_eq!(module.names(), ["region", "next", "send"]);
    assert_eq!((module.pages, module.tables), (1, 0));
    assert_eq!(module.data_bytes, 0, "texts and jump tables would stand here");
}

#[test]
fn a_package_that_is_none_is_one_clear_sentence() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../wasm-build");
    let text = spine_wasm_build::build("spine-no-such-extension", &folder).unwrap_err();
    assert!(text.contains("spine-no-such-extension does not build"), "{text}");
}
