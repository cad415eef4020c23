//! COUNT, SUM, TOTAL, AVG, MIN and MAX with SQLite 3.40's arithmetic.

const std = @import("std");
const compile = @import("compile.zig");
const keys = @import("keys.zig");
const value_zig = @import("value.zig");
const Diag = @import("diag.zig").Diag;
const Error = @import("diag.zig").Error;
const Value = value_zig.Value;

pub const Accumulator = struct {
    count: u64 = 0,
    int_sum: i64 = 0,
    real_sum: f64 = 0,
    /// The sum has a real part, so the result is real.
    approximate: bool = false,
    overflow: bool = false,
    /// Of MIN and MAX; NULL until there is one.
    best: Value = .null,
    seen: ?*keys.Set = null,

    /// Of MIN and MAX: whether this value is now the best, so that bare columns come from its row.
    pub inline fn add(self: *Accumulator, spec: *const compile.Aggregate, value: Value) bool {
        switch (spec.kind) {
            .count => self.count += 1,
            .sum, .total, .avg => self.addNumber(value),
            .min, .max => {
                if (self.best != .null) {
                    const wanted: std.math.Order = if (spec.kind == .min) .lt else .gt;
                    if (value_zig.compare(value, self.best, spec.collation) != wanted) return false;
                }
                self.best = value;
                return true;
            },
        }
        return false;
    }

    inline fn addNumber(self: *Accumulator, value: Value) void {
        self.count += 1;
        switch (if (value == .text) value_zig.applyNumeric(value) else value) {
            .int => |x| {
                self.real_sum += @floatFromInt(x);
                if (self.approximate or self.overflow) return;
                const sum, const carry = @addWithOverflow(self.int_sum, x);
                self.int_sum = sum;
                if (carry != 0) {
                    self.approximate = true;
                    self.overflow = true;
                }
            },
            else => |other| {
                self.real_sum += value_zig.toReal(other);
                self.approximate = true;
            },
        }
    }

    pub fn finish(self: *const Accumulator, spec: *const compile.Aggregate, diag: *Diag) Error!Value {
        switch (spec.kind) {
            .count => return .{ .int = @intCast(self.count) },
            .min, .max => return self.best,
            .total => return .fromReal(self.real_sum),
            .avg => return if (self.count == 0) .null else .fromReal(self.real_sum / @as(f64, @floatFromInt(self.count))),
            .sum => {
                if (self.count == 0) return .null;
                if (self.overflow) return diag.bad("integer overflow", .{});
                return if (self.approximate) .fromReal(self.real_sum) else .{ .int = self.int_sum };
            },
        }
    }
};

test Accumulator {
    var diag: Diag = .{};
    const sum: compile.Aggregate = .{ .kind = .sum, .arg = null, .distinct = false, .collation = .binary, .source = "" };
    var ints: Accumulator = .{};
    try std.testing.expectEqual(Value.null, try ints.finish(&sum, &diag));
    _ = ints.add(&sum, .{ .int = 2 });
    _ = ints.add(&sum, .{ .text = "3" });
    try std.testing.expectEqual(Value{ .int = 5 }, try ints.finish(&sum, &diag));
    _ = ints.add(&sum, .{ .int = value_zig.int_max });
    try std.testing.expectError(error.BadInput, ints.finish(&sum, &diag));
    try std.testing.expectEqualStrings("integer overflow", diag.message());
    var mixed: Accumulator = .{};
    _ = mixed.add(&sum, .{ .int = 1 });
    _ = mixed.add(&sum, .{ .text = "2.5 kg" });
    try std.testing.expectEqual(Value{ .real = 3.5 }, try mixed.finish(&sum, &diag));
    var max: compile.Aggregate = sum;
    max.kind = .max;
    var best: Accumulator = .{};
    try std.testing.expect(best.add(&max, .{ .int = 1 }));
    try std.testing.expect(!best.add(&max, .{ .int = 1 }));
    try std.testing.expect(best.add(&max, .{ .text = "" }));
}
