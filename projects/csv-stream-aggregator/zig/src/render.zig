//! The canonical answer: groups sorted by key, as CSV or as one JSON object a line.

const std = @import("std");
const decimal = @import("decimal.zig");
const failure = @import("failure.zig");
const options = @import("options.zig");
const output = @import("output.zig");
const Accumulator = @import("aggregate.zig").Accumulator;
const Group = @import("aggregate.zig").Group;
const Groups = @import("aggregate.zig").Groups;
const Plan = @import("plan.zig").Plan;
const PlannedAggregate = @import("plan.zig").PlannedAggregate;

/// The fields of a key lie one behind the other, each behind its length; a single field stands alone.
pub const KeyFields = struct {
    rest: []const u8,
    count: usize,

    pub const length_bytes = 4;

    pub fn next(self: *KeyFields) []const u8 {
        if (self.count == 1) return self.rest;
        const length = std.mem.readInt(u32, self.rest[0..length_bytes], .little);
        const field = self.rest[length_bytes..][0..length];
        self.rest = self.rest[length_bytes + length ..];
        return field;
    }
};

pub const Renderer = struct {
    request: *const options.Options,
    plan: *const Plan,
    groups: *Groups,
    answer: *output.Answer,

    /// Renders everything. `order` is scratch memory that one repeat leaves to the next.
    pub fn render(self: Renderer, gpa: std.mem.Allocator, order: *std.ArrayList(u32)) failure.Error!void {
        order.clearRetainingCapacity();
        try order.appendSlice(gpa, self.groups.list.items);
        std.sort.pdq(u32, order.items, self, before);
        if (self.request.format == .csv) try self.csvTitles();
        for (order.items) |start| switch (self.request.format) {
            .csv => try self.csvLine(self.groups.groupAt(start)),
            .json => try self.jsonLine(self.groups.groupAt(start)),
        };
        try self.answer.flush();
    }

    fn keyFields(self: Renderer, group: *const Group) KeyFields {
        return .{ .rest = group.key(), .count = self.plan.keys.len };
    }

    /// Field by field, by bytes.
    fn before(self: Renderer, a: u32, b: u32) bool {
        var left = self.keyFields(self.groups.groupAt(a));
        var right = self.keyFields(self.groups.groupAt(b));
        for (0..self.plan.keys.len) |_| switch (std.mem.order(u8, left.next(), right.next())) {
            .lt => return true,
            .gt => return false,
            .eq => {},
        };
        return false;
    }

    fn put(self: Renderer, bytes: []const u8) error{Failed}!void {
        return self.answer.put(bytes);
    }

    // --- csv ---

    fn csvTitles(self: Renderer) error{Failed}!void {
        var first = true;
        for (self.request.group_by) |name| try self.csvPart("", name, &first);
        for (self.request.aggregates) |wanted| try self.csvPart(prefix(wanted.function), wanted.column_name, &first);
        try self.put("\n");
    }

    fn csvLine(self: Renderer, group: *Group) error{Failed}!void {
        var fields = self.keyFields(group);
        var first = true;
        for (0..self.plan.keys.len) |_| try self.csvPart("", fields.next(), &first);
        var buffer: [decimal.text_bytes_max]u8 = undefined;
        const columns = group.accumulators(self.groups.columns);
        for (self.plan.aggregates) |planned| {
            const value = valueOf(&buffer, group.rows, columns, planned);
            if (!first) try self.put(",");
            first = false;
            try self.put(value orelse if (self.plan.keys.len == 0 and self.plan.aggregates.len == 1) "\"\"" else "");
        }
        try self.put("\n");
    }

    /// Writes one field in two parts, in quotes if it needs them.
    fn csvPart(self: Renderer, head: []const u8, text: []const u8, first: *bool) error{Failed}!void {
        if (!first.*) try self.put(",");
        first.* = false;
        if (std.mem.findAny(u8, text, ",\"\r\n") == null) {
            try self.put(head);
            return self.put(text);
        }
        try self.put("\"");
        try self.put(head);
        var rest = text;
        while (std.mem.findScalar(u8, rest, '"')) |at| : (rest = rest[at + 1 ..]) {
            try self.put(rest[0 .. at + 1]);
            try self.put("\"");
        }
        try self.put(rest);
        try self.put("\"");
    }

    // --- json ---

    fn jsonLine(self: Renderer, group: *Group) error{Failed}!void {
        var fields = self.keyFields(group);
        var first = true;
        for (self.request.group_by) |name| {
            try self.jsonName("", name, &first);
            try self.put("\"");
            try self.jsonText(fields.next());
            try self.put("\"");
        }
        var buffer: [decimal.text_bytes_max]u8 = undefined;
        const columns = group.accumulators(self.groups.columns);
        for (self.plan.aggregates, self.request.aggregates) |planned, wanted| {
            try self.jsonName(prefix(wanted.function), wanted.column_name, &first);
            const value = valueOf(&buffer, group.rows, columns, planned);
            try self.put(value orelse "null");
        }
        try self.put("}\n");
    }

    fn jsonName(self: Renderer, head: []const u8, text: []const u8, first: *bool) error{Failed}!void {
        try self.put(if (first.*) "{\"" else ",\"");
        first.* = false;
        try self.put(head);
        try self.jsonText(text);
        try self.put("\":");
    }

    fn jsonText(self: Renderer, text: []const u8) error{Failed}!void {
        var start: usize = 0;
        for (text, 0..) |byte, at| {
            if (byte >= 0x20 and byte != '"' and byte != '\\') continue;
            try self.put(text[start..at]);
            start = at + 1;
            try self.jsonEscape(byte);
        }
        try self.put(text[start..]);
    }

    fn jsonEscape(self: Renderer, byte: u8) error{Failed}!void {
        const hex = "0123456789abcdef";
        return switch (byte) {
            '"' => self.put("\\\""),
            '\\' => self.put("\\\\"),
            '\n' => self.put("\\n"),
            '\r' => self.put("\\r"),
            '\t' => self.put("\\t"),
            0x08 => self.put("\\b"),
            0x0c => self.put("\\f"),
            else => self.put(&.{ '\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15] }),
        };
    }
};

/// What stands before the column in the name of an aggregate.
fn prefix(function: options.Function) []const u8 {
    return switch (function) {
        .count_rows => "count",
        .count => "count_",
        .sum => "sum_",
        .min => "min_",
        .max => "max_",
        .mean => "mean_",
    };
}

/// Writes one aggregate of a group; null when there is no value.
fn valueOf(buffer: *[decimal.text_bytes_max]u8, rows: u64, columns: []const Accumulator, planned: PlannedAggregate) ?[]const u8 {
    if (planned.function == .count_rows) return decimal.format(buffer, rows, 0);
    const column = &columns[planned.slot];
    if (planned.function == .count) return decimal.format(buffer, column.values, 0);
    if (column.values == 0) return null;
    return switch (planned.function) {
        .sum => decimal.format(buffer, column.sum, column.scale()),
        .mean => decimal.formatMean(buffer, column.sum, column.values, column.scale()),
        .min => decimal.format(buffer, column.low().units(column.scale()), column.scale()),
        .max => decimal.format(buffer, column.high().units(column.scale()), column.scale()),
        .count_rows, .count => unreachable,
    };
}
