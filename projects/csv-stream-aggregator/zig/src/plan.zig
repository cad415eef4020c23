//! The request resolved against the header of one input: names become places.

const std = @import("std");
const failure = @import("failure.zig");
const Filter = @import("filter.zig").Filter;
const options = @import("options.zig");

pub const PlannedFilter = struct { column: usize, filter: *const Filter };

/// One column that is aggregated, however often.
pub const ValueColumn = struct { column: usize, is_numeric: bool };

/// An aggregate with its place among the value columns.
pub const PlannedAggregate = struct { function: options.Function, slot: usize };

pub const Plan = struct {
    /// The number of fields of a sound record.
    width: usize = 0,
    column_names: []const []const u8 = &.{},
    keys: []usize = &.{},
    filters: []PlannedFilter = &.{},
    values: std.ArrayList(ValueColumn) = .empty,
    aggregates: []PlannedAggregate = &.{},

    /// Finds every named column. `input_name` is for the errors.
    pub fn init(request: *const options.Options, column_names: []const []const u8, arena: std.mem.Allocator, input_name: []const u8, why: *failure.Failure) failure.Error!Plan {
        const finder: Finder = .{ .column_names = column_names, .input_name = input_name, .why = why };
        var plan: Plan = .{ .width = column_names.len, .column_names = column_names };
        plan.keys = try arena.alloc(usize, request.group_by.len);
        for (plan.keys, request.group_by) |*key, name| key.* = try finder.find(name);
        plan.aggregates = try arena.alloc(PlannedAggregate, request.aggregates.len);
        for (plan.aggregates, request.aggregates) |*planned, wanted| planned.* = try plan.add(wanted, finder, arena);
        plan.filters = try arena.alloc(PlannedFilter, request.filters.items.len);
        for (plan.filters, request.filters.items) |*planned, *filter| {
            planned.* = .{ .column = try finder.find(filter.column_name), .filter = filter };
        }
        return plan;
    }

    fn add(self: *Plan, wanted: options.Aggregate, finder: Finder, arena: std.mem.Allocator) failure.Error!PlannedAggregate {
        if (wanted.function == .count_rows) return .{ .function = .count_rows, .slot = 0 };
        const column = try finder.find(wanted.column_name);
        const is_numeric = wanted.function != .count;
        for (self.values.items, 0..) |*value, slot| {
            if (value.column != column) continue;
            value.is_numeric = value.is_numeric or is_numeric;
            return .{ .function = wanted.function, .slot = slot };
        }
        try self.values.append(arena, .{ .column = column, .is_numeric = is_numeric });
        return .{ .function = wanted.function, .slot = self.values.items.len - 1 };
    }
};

const Finder = struct {
    column_names: []const []const u8,
    input_name: []const u8,
    why: *failure.Failure,

    /// A name that is used must be there once.
    fn find(self: Finder, name: []const u8) error{Failed}!usize {
        var found: ?usize = null;
        for (self.column_names, 0..) |candidate, column| {
            if (!std.mem.eql(u8, candidate, name)) continue;
            if (found != null) return self.why.bad("{f}: duplicate column: {f}", .{ failure.escaped(self.input_name), failure.quoted(name) });
            found = column;
        }
        return found orelse self.why.bad("{f}: unknown column: {f}", .{ failure.escaped(self.input_name), failure.quoted(name) });
    }
};
