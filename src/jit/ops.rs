//! Pointwise ops as instructions, one arm each, for one element or for a vector of them.

use super::emit::{Emitter, Val};
use crate::error::{Error, Result};
use crate::ir::{Id, Kind, Op, Point};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, Type, Value, types};

impl Emitter<'_> {
    /// Emits a pointwise op: in lanes, or in f64 where it is computed for one element outside them. Comparisons are of
    /// what memory would hold: the largest of several values, which was kept, is equal to one of them.
    pub(super) fn point(&mut self, id: Id, point: Point, args: &[Id]) -> Result<Val> {
        let compares = matches!(point, Point::Lt | Point::Le | Point::Eq);
        if self.lane_axis.is_some() || self.real == types::F64 || compares {
            return self.point_in_lanes(id, point, args);
        }
        let mut exact = vec![];
        let mut kinds = vec![];
        for &arg in args {
            let kind = self.nest.graph.ty(arg).kind;
            exact.push(if kind == Kind::Float { self.exact(arg)? } else { self.get(arg)?.value });
            kinds.push(kind);
        }
        self.real = types::F64;
        let value = self.instruction(id, point, args, &exact, &kinds, false);
        self.real = types::F32;
        let value = value?;
        if self.nest.graph.ty(id).kind != Kind::Float {
            return Ok(Val::one(value));
        }
        let narrow = self.b.ins().fdemote(types::F32, value);
        Ok(Val { exact: Some(value), ..Val::one(narrow) })
    }

    /// A float that is at hand, in f64.
    pub(super) fn exact(&mut self, id: Id) -> Result<Value> {
        if let Op::Float(x) = self.nest.graph.op(id) {
            return Ok(self.f64_const(x.get()));
        }
        let val = self.get(id)?;
        if self.real == types::F64 {
            return Ok(val.value);
        }
        Ok(val.exact.unwrap_or_else(|| self.b.ins().fpromote(types::F64, val.value)))
    }

    /// A vector where an argument is one.
    fn point_in_lanes(&mut self, id: Id, point: Point, args: &[Id]) -> Result<Val> {
        let vals: Vec<Val> = args.iter().map(|&a| self.get(a)).collect::<Result<_>>()?;
        let wide = vals.iter().any(|v| v.wide);
        let kinds: Vec<Kind> = args.iter().map(|&a| self.nest.graph.ty(a).kind).collect();
        let v: Vec<Value> = vals.iter().zip(&kinds).map(|(&val, &kind)| self.widen(val, kind, wide)).collect();
        let value = self.instruction(id, point, args, &v, &kinds, wide)?;
        Ok(Val { value, wide, exact: None })
    }

    fn instruction(
        &mut self,
        id: Id,
        point: Point,
        args: &[Id],
        v: &[Value],
        kinds: &[Kind],
        wide: bool,
    ) -> Result<Value> {
        let float = kinds.last() == Some(&Kind::Float);
        Ok(match point {
            Point::Neg => {
                let sign = self.float_const(-0.0, wide);
                self.b.ins().bxor(v[0], sign)
            }
            Point::Abs => {
                let sign = self.float_const(-0.0, wide);
                self.b.ins().band_not(v[0], sign)
            }
            Point::Sqrt => self.b.ins().sqrt(v[0]),
            Point::Sign => self.sign(v[0], wide),
            Point::Add if float => self.b.ins().fadd(v[0], v[1]),
            Point::Add => self.b.ins().iadd(v[0], v[1]),
            Point::Sub if float => self.b.ins().fsub(v[0], v[1]),
            Point::Sub => self.b.ins().isub(v[0], v[1]),
            Point::Mul if float => self.b.ins().fmul(v[0], v[1]),
            Point::Mul => self.b.ins().imul(v[0], v[1]),
            Point::Div => self.b.ins().fdiv(v[0], v[1]),
            Point::Max if float => self.extreme(true, v[0], v[1], wide, self.may_be_nan(args[1])),
            Point::Min if float => self.extreme(false, v[0], v[1], wide, self.may_be_nan(args[1])),
            Point::Max => {
                let first = self.b.ins().icmp(IntCC::SignedGreaterThan, v[0], v[1]);
                self.choose(first, v[0], v[1], wide)
            }
            Point::Min => {
                let first = self.b.ins().icmp(IntCC::SignedLessThan, v[0], v[1]);
                self.choose(first, v[0], v[1], wide)
            }
            Point::Lt if float => self.b.ins().fcmp(FloatCC::LessThan, v[0], v[1]),
            Point::Le if float => self.b.ins().fcmp(FloatCC::LessThanOrEqual, v[0], v[1]),
            Point::Eq if float => self.b.ins().fcmp(FloatCC::Equal, v[0], v[1]),
            Point::Lt => self.b.ins().icmp(IntCC::SignedLessThan, v[0], v[1]),
            Point::Le => self.b.ins().icmp(IntCC::SignedLessThanOrEqual, v[0], v[1]),
            Point::Eq => self.b.ins().icmp(IntCC::Equal, v[0], v[1]),
            Point::Not if wide => self.b.ins().bnot(v[0]),
            Point::Not => self.b.ins().bxor_imm_s(v[0], 1),
            Point::And => self.b.ins().band(v[0], v[1]),
            Point::Or => self.b.ins().bor(v[0], v[1]),
            Point::Select if wide && self.is_zero(args[2]) => {
                let mask = self.bits(v[0], self.b.func.dfg.value_type(v[1]));
                self.b.ins().band(v[1], mask)
            }
            Point::Select => self.choose(v[0], v[1], v[2], wide),
            Point::Float => self.int_to_float(v[0], wide),
            Point::Exp | Point::Log | Point::Log1p | Point::Expm1 | Point::Tanh => {
                if wide {
                    return Err(Error::internal("jit", format!("{} in lanes", point.name())));
                }
                self.math(point, v[0])?
            }
            Point::Sigmoid | Point::Softplus => {
                return Err(Error::internal("jit", format!("%{id}: {} was not expanded", point.name())));
            }
        })
    }

    /// The larger or the smaller of two; NaN where one is. Cranelift's own take eight instructions of vectors, because
    /// they order the zeros too; this pattern is one where `b` is a number, and three else.
    pub(super) fn extreme(&mut self, largest: bool, a: Value, b: Value, wide: bool, b_may_be_nan: bool) -> Value {
        let (x, y) = if largest { (a, b) } else { (b, a) };
        let take_b = self.b.ins().fcmp(FloatCC::LessThan, x, y);
        // A comparison and a choice of floats are one instruction, and that something is no NaN is easy to predict.
        let of_row = !wide && self.lane_axis.is_none();
        let choose = |e: &mut Self, condition, a, b| {
            if of_row { e.b.ins().select(condition, a, b) } else { e.choose(condition, a, b, wide) }
        };
        let known = choose(self, take_b, b, a);
        if !b_may_be_nan {
            return known; // where a is NaN the comparison fails
        }
        let number = self.b.ins().fcmp(FloatCC::Equal, b, b);
        choose(self, number, known, b)
    }

    fn may_be_nan(&self, id: Id) -> bool {
        !matches!(self.nest.graph.op(id), Op::Float(x) if !x.get().is_nan())
    }

    fn is_zero(&self, id: Id) -> bool {
        matches!(self.nest.graph.op(id), Op::Float(x) if x.get().to_bits() == 0)
    }

    /// `a` where the condition holds, else `b`.
    pub(super) fn choose(&mut self, condition: Value, a: Value, b: Value, wide: bool) -> Value {
        let ty = self.b.func.dfg.value_type(a);
        if !wide && ty.is_float() && !self.at.is_empty() {
            // As integers: Cranelift makes a jump of a choice between floats, and data is hard to predict.
            let bits = Type::int(ty.bits() as u16).expect("as wide as a float");
            let (a, b) = (self.bits(a, bits), self.bits(b, bits));
            let chosen = self.b.ins().select(condition, a, b);
            return self.bits(chosen, ty);
        }
        if !wide {
            return self.b.ins().select(condition, a, b);
        }
        let mask = self.bits(condition, ty);
        self.b.ins().bitselect(mask, a, b)
    }

    pub(super) fn bits(&mut self, value: Value, ty: types::Type) -> Value {
        if self.b.func.dfg.value_type(value) == ty {
            return value;
        }
        self.b.ins().bitcast(ty, MemFlagsData::new().with_endianness(Endianness::Little), value)
    }

    /// −1 or 1 by the sign; ±0 and NaN stay themselves.
    fn sign(&mut self, x: Value, wide: bool) -> Value {
        let (zero, one, minus) =
            (self.float_const(0.0, wide), self.float_const(1.0, wide), self.float_const(-1.0, wide));
        let above = self.b.ins().fcmp(FloatCC::GreaterThan, x, zero);
        let below = self.b.ins().fcmp(FloatCC::LessThan, x, zero);
        let rest = self.choose(below, minus, x, wide);
        self.choose(above, one, rest, wide)
    }

    fn int_to_float(&mut self, x: Value, wide: bool) -> Value {
        if wide && self.int == types::I64 {
            // No vector instruction below AVX-512: lane by lane.
            let mut result = self.float_const(0.0, true);
            for lane in 0..self.lanes as u8 {
                let one = self.b.ins().extractlane(x, lane);
                let one = self.b.ins().fcvt_from_sint(self.real, one);
                result = self.b.ins().insertlane(result, one, lane);
            }
            return result;
        }
        let ty = if wide { self.real.by(self.lanes as u32).expect("a vector type") } else { self.real };
        self.b.ins().fcvt_from_sint(ty, x)
    }

    pub(super) fn splat(&mut self, scalar: Value) -> Value {
        let ty = self.b.func.dfg.value_type(scalar).by(self.lanes as u32).expect("a vector type");
        self.b.ins().splat(ty, scalar)
    }

    /// A truth value as a lane that is filled with its bit.
    pub(super) fn mask(&mut self, truth: Value) -> Value {
        let lane = self.b.ins().uextend(self.int, truth);
        self.b.ins().ineg(lane)
    }

    /// A value in the width asked for.
    pub(super) fn widen(&mut self, val: Val, kind: Kind, wide: bool) -> Value {
        if val.wide || !wide {
            return val.value;
        }
        match kind {
            Kind::Bool => {
                let mask = self.mask(val.value);
                self.splat(mask)
            }
            _ => self.splat(val.value),
        }
    }
}
