//! What a call needs beyond its inputs and results is little, whatever the size: a row's worth for each thread.

#[path = "../benches/cases/mod.rs"]
mod cases;

#[test]
fn scratch_is_small() {
    for case in cases::cases() {
        let inputs = case.blank();
        for (call, wanted) in case.wanted() {
            let compiled = case.block().compile(&inputs.views(), &wanted).unwrap();
            let scratch = compiled.kernel().scratch;
            assert!(scratch <= 1 << 20, "{} {call}: {scratch} bytes of scratch", case.name());
        }
    }
}
