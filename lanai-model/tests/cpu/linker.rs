//! Objects into images: what is linked, and what is refused with which sentence.

use lanai_model::cpu::{Isa, disassemble};
use lanai_model::object::{LinkError, assemble, link, runtime_source};

use crate::program::{BASE, Program, object};
use crate::tools::{Random, clang, llvm_mc, llvm_objdump, run};

#[test]
fn several_objects_see_each_others_names() {
    let Some(clang) = clang() else { return };
    let first = object(
        clang,
        "extern int shared[4]; int twice(int); static int hidden(int x) { return x + 1; }
         int (*table[2])(int) = { twice, hidden };
         int start(int i, int x) { return table[i](x) + shared[2]; }",
        &["-O2"],
    );
    let second = object(
        clang,
        "int shared[4] = { 1, 20, 300, 4000 }; static int hidden(int x) { return x * 7; }
         int twice(int x) { return 2 * hidden(x); }
         int zeros[100]; int sum(void) { int s = 0; for (int i = 0; i < 100; i++) s += zeros[i]; return s; }",
        &["-O2"],
    );
    let mut program = Program::link(&[("first.o", &first), ("second.o", &second)]);
    assert_eq!(program.call("start", &[0, 3]).word(), 342);
    assert_eq!(program.call("start", &[1, 3]).word(), 304);
    assert_eq!(program.call("sum", &[]).word(), 0);
    assert_eq!(program.image.symbol("hidden"), None, "local names stay local");
}

#[test]
fn the_objects_own_routine_comes_before_the_supplied_one() {
    let Some(clang) = clang() else { return };
    let source = "unsigned product(unsigned a, unsigned b) { return a * b; }";
    let own =
        object(clang, "unsigned __mulsi3(unsigned a, unsigned b) { return 12345; }", &["-O2"]);
    let user = object(clang, source, &["-O2"]);
    assert_eq!(Program::link(&[("user.o", &user)]).call("product", &[6, 7]).word(), 42);
    let mut program = Program::link(&[("user.o", &user), ("own.o", &own)]);
    assert_eq!(program.call("product", &[6, 7]).word(), 12345);
}

#[test]
fn every_relocation_of_the_architecture_is_applied() {
    let Some(clang) = clang() else { return };
    // clang emits branches and halves; the assembler's names for the others make the rest.
    let source = "int far[3]; int *pointer = &far[1]; int *get(void) { return pointer; }
                  int **where(void) { return &pointer; }";
    let object = object(clang, source, &["-O1"]);
    let mut program = Program::link(&[("a.o", &object)]);
    let far = program.image.symbol("far").expect("a name");
    assert_eq!(program.call("get", &[]).word(), far + 4, "R_LANAI_32 with an addend");
    assert_eq!(program.call("where", &[]).word(), program.image.symbol("pointer").expect("a name"));
}

#[test]
fn names_must_be_defined_once() {
    let Some(clang) = clang() else { return };
    let one = object(
        clang,
        "int f(int x) { return x; } int missing(int); int g(void) { return missing(1); }",
        &[],
    );
    assert_eq!(
        link(&[("a.o", &one)], BASE).expect_err("undefined").to_string(),
        "missing, which a.o refers to, is defined nowhere; give the object that defines it"
    );
    let two = object(clang, "int f(int x) { return -x; } int missing(int x) { return x; }", &[]);
    let error = link(&[("a.o", &one), ("b.o", &two)], BASE).expect_err("twice");
    assert_eq!(error.to_string(), "f is defined in a.o and in b.o");
}

#[test]
fn files_for_others_are_refused() {
    assert!(matches!(link(&[("x", b"not an object")], BASE), Err(LinkError::NotElf { .. })));
    assert!(matches!(link(&[("x", b"")], BASE), Err(LinkError::NotElf { .. })));
    let own = std::fs::read(std::env::current_exe().expect("a name")).expect("readable");
    assert!(matches!(link(&[("x", &own)], BASE), Err(LinkError::NotElf { .. })), "64 bits");
    assert!(matches!(link(&[], 8), Err(LinkError::Base { base: 8 })));
    assert!(matches!(link(&[], 1 << 25), Err(LinkError::Base { .. })));
    assert_eq!(link(&[], BASE).expect("nothing").bytes, Vec::<u8>::new());
}

#[test]
fn damaged_objects_are_refused_or_linked_but_never_panic() {
    let Some(clang) = clang() else { return };
    let source = "int a[3] = {1,2,3}; int b; int f(int x) { return x * a[x & 1] / (b + 1); }";
    let good = object(clang, source, &["-O1"]);
    assert!(link(&[("good.o", &good)], BASE).is_ok());
    let mut random = Random(25);
    let mut refused = 0;
    for round in 0..20_000 {
        let mut bad = good.clone();
        if round % 5 == 0 {
            bad.truncate(random.word() as usize % bad.len());
        } else {
            for _ in 0..=random.below(3) {
                let place = random.word() as usize % bad.len();
                let byte = random.word().to_le_bytes()[0];
                bad[place] = *random.pick(&[0, 1, 0x7f, 0x80, 0xff, byte]);
            }
        }
        refused += u32::from(link(&[("bad.o", &bad)], BASE).is_err());
    }
    assert!(refused > 1000, "the damage reaches what is checked: {refused}");
}

#[test]
fn the_supplied_routines_are_the_words_that_llvm_assembles() {
    let Some(tool) = llvm_mc() else { return };
    let ours = assemble(&runtime_source(), BASE).expect("the routines are assembly text");
    let arguments = ["-triple=lanai", "-filetype=obj", "-o", "-"];
    let output = run(tool, &arguments, &runtime_source());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs = link(&[("runtime.o", &output.stdout)], BASE).expect("LLVM's object");
    for (index, (theirs, ours)) in theirs.words().iter().zip(&ours.words).enumerate() {
        let texts = [theirs, ours].map(|word| disassemble(*word, Isa::V11));
        assert_eq!(theirs, ours, "word {index}, {texts:?}");
    }
    assert_eq!(theirs.words().len(), ours.words.len());
}

#[test]
fn compiled_code_reads_as_llvm_prints_it() {
    let (Some(clang), Some(objdump)) = (clang(), llvm_objdump()) else { return };
    if llvm_mc().is_none() {
        return;
    }
    let source = crate::generator::source(7, 60);
    let object = object(clang, &source, &["-O1"]);
    let path = crate::program::temporary("objdump.o");
    std::fs::write(&path, &object).expect("a file");
    let output = run(&objdump, &["-d", path.to_str().expect("text")], "");
    std::fs::remove_file(&path).expect("it is there");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut compared = 0;
    for line in text.lines() {
        // `      14: 07 88 00 10  	add	%pc, 0x10, %rca`
        let Some((_, rest)) = line.split_once(": ") else { continue };
        let Some((bytes, expected)) = rest.split_once('\t') else { continue };
        let digits: String = bytes.split_whitespace().collect();
        let Ok(word) = u32::from_str_radix(&digits, 16) else { continue };
        // Branches to symbols carry the symbol's name behind the address.
        let expected = expected.split(" <").next().unwrap_or(expected).trim();
        assert_eq!(disassemble(word, Isa::V11), expected);
        compared += 1;
    }
    assert!(compared > 1000, "only {compared} instructions in {}", text.len());
}
