//! Compiles a [`Policy`] to the classic BPF program that the kernel's seccomp runs before every system call.
//!
//! The program checks the architecture, refuses x32 numbers, then finds the number's range by binary search: about eight
//! comparisons, and none at all for plain calls, whose verdict the kernel caches by number.

use super::policy::{Check, Policy, Test, Verdict};

/// One instruction, laid out as the kernel's `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// The operation.
    pub code: u16,
    /// How many instructions to skip when the comparison holds.
    pub jump_true: u8,
    /// How many to skip when it doesn't.
    pub jump_false: u8,
    /// The operand.
    pub k: u32,
}

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_GREATER_EQUAL: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const JUMP_ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Where `struct seccomp_data` keeps the call's number.
const NUMBER_OFFSET: u32 = 0;
/// Where it keeps the architecture.
const ARCHITECTURE_OFFSET: u32 = 4;
/// Where its first argument begins; each has eight bytes.
const ARGUMENTS_OFFSET: u32 = 16;
/// A number with this bit is an x32 call on x86-64; elsewhere none has it.
const X32_BIT: u32 = 0x4000_0000;
/// The most instructions the kernel takes (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

const fn statement(code: u16, k: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, k }
}

const fn jump(code: u16, k: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, k }
}

/// What a run of neighbouring numbers gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell<'a> {
    Plain(Verdict),
    Checked(&'a [Check], Verdict),
}

/// The program that enforces `policy`.
#[must_use]
pub fn compile(policy: &Policy) -> Vec<Instruction> {
    let other = policy.default.code();
    let mut program = vec![
        statement(LOAD, ARCHITECTURE_OFFSET),
        jump(JUMP_EQUAL, policy.architecture, 1, 0),
        statement(RETURN, other),
        statement(LOAD, NUMBER_OFFSET),
        jump(JUMP_GREATER_EQUAL, X32_BIT, 0, 1),
        statement(RETURN, other),
    ];
    program.extend(search(&ranges(policy)));
    program
}

/// Every number from 0 up as runs with one answer each: where a run begins, and what its numbers get.
fn ranges(policy: &Policy) -> Vec<(u32, Cell<'_>)> {
    let mut runs: Vec<(u32, Cell<'_>)> = vec![(0, Cell::Plain(policy.default))];
    let mut push = |from: u32, cell| match runs.last_mut() {
        Some((last, held)) if *last == from => *held = cell,
        Some((_, held)) if *held == cell && matches!(cell, Cell::Plain(_)) => {}
        _ => runs.push((from, cell)),
    };
    for rule in &policy.rules {
        let cell = if rule.checks.is_empty() {
            Cell::Plain(Verdict::Allow)
        } else {
            Cell::Checked(&rule.checks, rule.otherwise)
        };
        push(rule.number, cell);
        push(rule.number + 1, Cell::Plain(policy.default));
    }
    // Overwriting a run's first entry can leave equal neighbours behind.
    runs.dedup_by(|next, before| next.1 == before.1 && matches!(next.1, Cell::Plain(_)));
    runs
}

/// A binary search over the runs; the number is in the accumulator.
fn search(runs: &[(u32, Cell<'_>)]) -> Vec<Instruction> {
    match runs {
        [] => Vec::new(),
        [(_, cell)] => answer(*cell),
        _ => {
            let (low, high) = runs.split_at(runs.len() / 2);
            let low_code = search(low);
            let high_code = search(high);
            // A conditional jump reaches 255 instructions, an unconditional one any number.
            let mut code = vec![
                jump(JUMP_GREATER_EQUAL, high[0].0, 0, 1),
                statement(JUMP, u32::try_from(low_code.len()).unwrap_or(u32::MAX)),
            ];
            code.extend(low_code);
            code.extend(high_code);
            code
        }
    }
}

fn answer(cell: Cell<'_>) -> Vec<Instruction> {
    let (checks, otherwise) = match cell {
        Cell::Plain(verdict) => return vec![statement(RETURN, verdict.code())],
        Cell::Checked(checks, otherwise) => (checks, otherwise),
    };
    let mut code = Vec::new();
    for check in checks {
        // The low half, little-endian: the kernel itself looks only at 32 bits of each argument that is checked here.
        code.push(statement(LOAD, ARGUMENTS_OFFSET + 8 * u32::from(check.argument)));
        match check.test {
            Test::NoneOf(bits) => {
                code.push(jump(JUMP_ANY_BIT, bits, 0, 1));
                code.push(statement(RETURN, otherwise.code()));
            }
            Test::In(values) => {
                for (place, value) in values.iter().enumerate() {
                    let to_next_check = u8::try_from(values.len() - place).unwrap_or(u8::MAX);
                    code.push(jump(JUMP_EQUAL, *value, to_next_check, 0));
                }
                code.push(statement(RETURN, otherwise.code()));
            }
            Test::NotIn(values) => {
                for value in values {
                    code.push(jump(JUMP_EQUAL, *value, 0, 1));
                    code.push(statement(RETURN, otherwise.code()));
                }
            }
        }
    }
    code.push(statement(RETURN, Verdict::Allow.code()));
    code
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::policy, *};

    /// What the kernel's interpreter would return.
    fn run(program: &[Instruction], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let load = |offset: u32| match offset {
            NUMBER_OFFSET => number,
            ARCHITECTURE_OFFSET => architecture,
            _ => {
                let (argument, half) = ((offset - ARGUMENTS_OFFSET) / 8, (offset - ARGUMENTS_OFFSET) % 8);
                assert_eq!(half, 0);
                (arguments[argument as usize] & 0xffff_ffff) as u32
            }
        };
        let mut accumulator = 0;
        let mut at = 0;
        loop {
            let now = program[at];
            at += 1;
            let mut branch = |holds: bool| at += usize::from(if holds { now.jump_true } else { now.jump_false });
            match now.code {
                LOAD => accumulator = load(now.k),
                JUMP => at += now.k as usize,
                JUMP_EQUAL => branch(accumulator == now.k),
                JUMP_GREATER_EQUAL => branch(accumulator >= now.k),
                JUMP_ANY_BIT => branch(accumulator & now.k != 0),
                RETURN => return now.k,
                code => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    #[test]
    fn the_container_policy_fits_and_answers_like_its_data() {
        let policy = policy::container();
        let program = compile(&policy);
        assert!(program.len() < MAX_INSTRUCTIONS, "{}", program.len());
        for number in 0..600 {
            let told = run(&program, policy.architecture, number, [1, 0, 0, 0, 0, 0]);
            assert_eq!(told, policy.judge(number, [1, 0, 0, 0, 0, 0]).code(), "number {number}");
        }
    }

    #[test]
    fn another_architecture_and_x32_are_refused() {
        let policy = policy::container();
        let program = compile(&policy);
        let read = u32::try_from(libc::SYS_read).expect("a small number");
        assert_eq!(run(&program, policy.architecture, read, [0; 6]), Verdict::Allow.code());
        assert_eq!(run(&program, 0x4000_0003, read, [0; 6]), policy.default.code());
        assert_eq!(run(&program, policy.architecture, read | X32_BIT, [0; 6]), policy.default.code());
        assert_eq!(run(&program, policy.architecture, u32::MAX, [0; 6]), policy.default.code());
    }

    proptest! {
        #[test]
        fn every_call_is_judged_as_the_policy_says(number in 0_u32..500, a in any::<u64>(), b in any::<u64>(), bit in 0_u32..32) {
            let policy = policy::container();
            let program = compile(&policy);
            for arguments in [[a, b, 0, 0, 0, 0], [1 << bit, 1 << bit, 0, 0, 0, 0], [a % 40, 0x5400 + b % 40, 0, 0, 0, 0]] {
                prop_assert_eq!(
                    run(&program, policy.architecture, number, arguments),
                    policy.judge(number, arguments).code()
                );
            }
        }
    }
}
