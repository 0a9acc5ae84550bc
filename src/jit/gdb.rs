//! gdb's interface for code made at run time: each kernel is an object file in memory, with one symbol.
//!
//! gdb looks for two symbols of the process by their names, so only one library of a program can have them: this is the
//! feature `gdb`, which the program that links lossjit decides on. See "JIT Compilation Interface" in gdb's manual.

use std::ptr;
use std::sync::{Mutex, PoisonError};

/// One object file, in gdb's list.
#[repr(C)]
struct Entry {
    next: *mut Entry,
    previous: *mut Entry,
    file: *const u8,
    size: u64,
}

/// What gdb reads when it stops at [`__jit_debug_register_code`].
#[repr(C)]
pub struct Descriptor {
    version: u32,
    action: u32,
    relevant: *mut Entry,
    first: *mut Entry,
}

const REGISTER: u32 = 1;
const UNREGISTER: u32 = 2;

/// gdb has a breakpoint here.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn __jit_debug_register_code() {
    std::hint::black_box(());
}

/// The head of gdb's list.
#[unsafe(no_mangle)]
pub static mut __jit_debug_descriptor: Descriptor =
    Descriptor { version: 1, action: 0, relevant: ptr::null_mut(), first: ptr::null_mut() };

static LIST: Mutex<()> = Mutex::new(());

/// A kernel that gdb knows of, until this is dropped.
pub(super) struct Registration {
    entry: *mut Entry,
    _file: Box<[u8]>,
}

// SAFETY: the entry is only touched under the lock of the list.
unsafe impl Send for Registration {}
// SAFETY: nothing can be done with a shared registration.
unsafe impl Sync for Registration {}

impl Registration {
    pub fn new(symbol: &str, address: *const u8, size: usize) -> Self {
        let file = object_file(symbol, address.addr() as u64, size as u64).into_boxed_slice();
        let _lock = LIST.lock().unwrap_or_else(PoisonError::into_inner);
        let entry =
            Entry { next: ptr::null_mut(), previous: ptr::null_mut(), file: file.as_ptr(), size: file.len() as u64 };
        let entry = Box::into_raw(Box::new(entry));
        // SAFETY: the list and its entries are only touched under the lock, and entries live until they are taken out.
        unsafe {
            let head = &raw mut __jit_debug_descriptor;
            (*entry).next = (*head).first;
            if !(*head).first.is_null() {
                (*(*head).first).previous = entry;
            }
            (*head).first = entry;
            tell(REGISTER, entry);
        }
        Self { entry, _file: file }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let _lock = LIST.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: as above; the entry came from a box, and nothing points to it when it has been taken out.
        unsafe {
            let head = &raw mut __jit_debug_descriptor;
            let (next, previous) = ((*self.entry).next, (*self.entry).previous);
            match previous.is_null() {
                true => (*head).first = next,
                false => (*previous).next = next,
            }
            if !next.is_null() {
                (*next).previous = previous;
            }
            tell(UNREGISTER, self.entry);
            drop(Box::from_raw(self.entry));
        }
    }
}

/// # Safety
/// The lock of the list is held.
unsafe fn tell(action: u32, entry: *mut Entry) {
    // SAFETY: under the lock nobody else writes, and gdb reads only inside the call.
    unsafe {
        let head = &raw mut __jit_debug_descriptor;
        (*head).action = action;
        (*head).relevant = entry;
        __jit_debug_register_code();
        (*head).action = 0;
        (*head).relevant = ptr::null_mut();
    }
}

/// A relocatable ELF file whose text is elsewhere in memory: sections null, .text, .symtab, .strtab.
fn object_file(symbol: &str, address: u64, size: u64) -> Vec<u8> {
    const HEADER: u64 = 64;
    const SYMBOL: u64 = 24;
    let machine: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
    let mut names = b"\0.text\0.symtab\0.strtab\0".to_vec();
    let [text, symtab, strtab, function] = [1u32, 7, 15, names.len() as u32];
    names.extend(symbol.bytes().chain([0]));
    names.resize(names.len().next_multiple_of(8), 0);
    let symbols = HEADER;
    let strings = symbols + 2 * SYMBOL;
    let sections = strings + names.len() as u64;

    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    [1u16, machine].iter().for_each(|x| put(&x.to_le_bytes()));
    put(&1u32.to_le_bytes());
    [0u64, 0, sections].iter().for_each(|x| put(&x.to_le_bytes()));
    put(&0u32.to_le_bytes());
    // This header, no program headers, four section headers, of which the last has their names.
    [64u16, 0, 0, 64, 4, 3].iter().for_each(|x| put(&x.to_le_bytes()));
    // The first symbol is none; the second a global function at the start of section 1.
    put(&[0; SYMBOL as usize]);
    put(&function.to_le_bytes());
    put(&[0x12, 0, 1, 0]);
    [0u64, size].iter().for_each(|x| put(&x.to_le_bytes()));
    put(&names);
    let mut section = |name: u32, kind: u32, flags: u64, place: [u64; 3], link: [u32; 2], align: u64, each: u64| {
        [name, kind].iter().for_each(|x| put(&x.to_le_bytes()));
        put(&flags.to_le_bytes());
        place.iter().for_each(|x| put(&x.to_le_bytes()));
        link.iter().for_each(|x| put(&x.to_le_bytes()));
        [align, each].iter().for_each(|x| put(&x.to_le_bytes()));
    };
    let (string_table, symbol_table, no_bits) = (3, 2, 8);
    section(0, 0, 0, [0, 0, 0], [0, 0], 0, 0);
    section(text, no_bits, 6, [address, 0, size], [0, 0], 16, 0);
    section(symtab, symbol_table, 0, [0, symbols, 2 * SYMBOL], [3, 1], 8, SYMBOL);
    section(strtab, string_table, 0, [0, strings, names.len() as u64], [0, 0], 1, 0);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_file_has_its_symbol() {
        let file = object_file("l1.forward.f32[2,3]", 0x1234_5000, 77);
        let word = |place: usize| u64::from_le_bytes(file[place..place + 8].try_into().unwrap()) as usize;
        let half = |place: usize| u32::from_le_bytes(file[place..place + 4].try_into().unwrap()) as usize;
        assert_eq!(&file[..4], b"\x7fELF");
        let sections = word(0x28);
        assert_eq!(file.len(), sections + 4 * 64);
        let (text, symbols, strings) = (sections + 64, sections + 128, sections + 192);
        assert_eq!((word(text + 0x10), word(text + 0x20)), (0x1234_5000, 77));
        let names = word(strings + 0x18);
        let name = |at: usize| file[names + at..].split(|&byte| byte == 0).next().unwrap();
        let found = [text, symbols, strings].map(|section| name(half(section)));
        assert_eq!(found, [&b".text"[..], b".symtab", b".strtab"]);
        let symbol = word(symbols + 0x18) + 24;
        assert_eq!((name(half(symbol)), word(symbol + 16)), (&b"l1.forward.f32[2,3]"[..], 77));
    }

    #[test]
    fn what_is_dropped_is_forgotten() {
        fn known() -> Vec<*mut Entry> {
            let _lock = LIST.lock().unwrap();
            let mut found = vec![];
            // SAFETY: under the lock the list is whole.
            unsafe {
                let head = &raw const __jit_debug_descriptor;
                let mut entry = (*head).first;
                while !entry.is_null() {
                    found.push(entry);
                    entry = (*entry).next;
                }
            }
            found
        }
        let code = [0u8; 16];
        let [first, middle, last] = ["a", "b", "c"].map(|name| Registration::new(name, code.as_ptr(), code.len()));
        let entries = [first.entry, middle.entry, last.entry];
        let among = |known: &[*mut Entry]| entries.map(|entry| known.contains(&entry));
        assert_eq!(among(&known()), [true, true, true]);
        drop(middle);
        assert_eq!(among(&known()), [true, false, true]);
        drop(last);
        drop(first);
        assert_eq!(among(&known()), [false, false, false]);
    }
}
