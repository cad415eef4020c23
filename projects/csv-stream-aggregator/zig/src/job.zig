//! One repeat: open, read, scan, filter, aggregate, render. Memory is kept from one repeat to the next, results are not.

const std = @import("std");
const aggregate = @import("aggregate.zig");
const decimal = @import("decimal.zig");
const failure = @import("failure.zig");
const filter = @import("filter.zig");
const options = @import("options.zig");
const output = @import("output.zig");
const record = @import("record.zig");
const render = @import("render.zig");
const scan = @import("scan.zig");
const Input = @import("input.zig").Input;
const Plan = @import("plan.zig").Plan;
const Record = record.Record;
const Error = failure.Error;

const read_bytes = 256 << 10;
/// With more groups than this, they are far from the processor, and rows wait in a batch until theirs have come.
const near_groups = 1024;
const batch_rows = 16;
const key_block_bytes = 16 << 10;
const byte_order_mark = "\xef\xbb\xbf";

pub const Job = struct {
    gpa: std.mem.Allocator,
    io: std.Io,
    request: *const options.Options,
    why: *failure.Failure,
    input_name: []const u8,
    input_memory: Input.Memory = .{},
    groups: aggregate.Groups,
    scanner: scan.Scanner,
    /// Where the plan of one repeat lives.
    arena: std.heap.ArenaAllocator,
    plan: ?Plan = null,
    /// The numbers of the rows of a batch, one row behind the other.
    numbers: []decimal.Decimal = &.{},
    batch: [batch_rows]Waiting = undefined,
    batch_count: usize = 0,

    /// data[record_start..length] is read and not worked on. Behind `length`, `scan.padding_bytes` are readable.
    data: []u8 = &.{},
    length: usize = 0,
    record_start: usize = 0,
    at_end: bool = false,

    /// Data records of this repeat.
    items: u64 = 0,
    skipped: u64 = 0,

    slow_ends: std.ArrayList(u32) = .empty,
    /// Keys of the rows of a batch that do not lie in the data as they are.
    keys: std.ArrayList(u8) = .empty,
    scratch: record.Scratch = .empty,
    order: std.ArrayList(u32) = .empty,

    /// A row whose numbers are read and whose group is not yet looked at.
    const Waiting = struct { key: []const u8, hash: u64, record_start: usize };

    pub fn init(gpa: std.mem.Allocator, io: std.Io, request: *const options.Options, seed: u64, why: *failure.Failure) Job {
        return .{
            .gpa = gpa,
            .io = io,
            .request = request,
            .why = why,
            .input_name = if (std.mem.eql(u8, request.input_path, "-")) "standard input" else request.input_path,
            .groups = .{ .gpa = gpa, .seed = seed, .max_groups = request.max_groups },
            .scanner = .{ .delimiter = request.delimiter },
            .arena = .init(gpa),
        };
    }

    /// Does the whole job once.
    pub fn run(self: *Job, answer: *output.Answer) Error!void {
        var input = try Input.open(self.io, self.gpa, self.request.input_path, self.request.compression, &self.input_memory, self.why);
        defer input.close();
        try self.begin(&input);
        try self.readRecords(&input);
        if (self.plan == null) return self.why.bad("{f}: empty input: no header", .{failure.escaped(self.input_name)});
        const renderer: render.Renderer = .{ .request = self.request, .plan = &self.plan.?, .groups = &self.groups, .answer = answer };
        try renderer.render(self.gpa, &self.order);
    }

    /// Forgets the repeat before, reads the first block and steps over a byte order mark.
    fn begin(self: *Job, input: *Input) Error!void {
        _ = self.arena.reset(.retain_capacity);
        self.plan = null;
        self.batch_count = 0;
        self.items = 0;
        self.skipped = 0;
        self.length = 0;
        self.record_start = 0;
        self.at_end = false;
        self.scanner.restart(0);
        self.scanner.newlines = 0;
        while (self.length < byte_order_mark.len and !self.at_end) try self.readMore(input);
        if (std.mem.startsWith(u8, self.data[0..self.length], byte_order_mark)) {
            self.record_start = byte_order_mark.len;
            self.scanner.restart(byte_order_mark.len);
        }
    }

    fn readRecords(self: *Job, input: *Input) Error!void {
        while (true) {
            const stop = try self.scanner.run(self.gpa, self.data, self.length, self.at_end);
            try self.finishRecords();
            switch (stop) {
                .full => {},
                .starved => {
                    if (self.at_end) return self.lastRecord();
                    try self.readMore(input);
                },
                .irregular => try self.slowRecord(input),
            }
        }
    }

    /// What is left behind the last record end is a record too.
    fn lastRecord(self: *Job) Error!void {
        if (self.record_start == self.length) return;
        switch (try self.readSlowly()) {
            .starved => unreachable,
            .unterminated_quote => return self.failRecord("unterminated quote", .{}),
            .done => |done| try self.finishSlow(done.problem, done.next),
        }
    }

    /// Reads a record that the scan does not understand, and lets the scan go on behind it.
    fn slowRecord(self: *Job, input: *Input) Error!void {
        while (true) switch (try self.readSlowly()) {
            .starved => {
                self.scanner.end_count = 0;
                // It is read again from its start, so wait for twice as much: long records take linear time.
                const wanted = (self.length - self.record_start) * 2;
                while (self.length - self.record_start < wanted and !self.at_end) try self.readMore(input);
            },
            .unterminated_quote => return self.failRecord("unterminated quote", .{}),
            .done => |done| return self.finishSlow(done.problem, done.next),
        };
    }

    fn readSlowly(self: *Job) Error!record.Outcome {
        return record.readSlowly(self.data[0..self.length], self.record_start, self.request.delimiter, self.at_end, &self.slow_ends, self.gpa);
    }

    fn finishSlow(self: *Job, problem: record.Problem, next: usize) Error!void {
        const before = self.line() - 1;
        const found: Record = .{ .data = self.data, .start = self.record_start, .ends = self.slow_ends.items };
        if (problem != .none) {
            try self.checkLength(self.rawLength(next));
            try self.badShape("text after closing quote", .{});
        } else {
            try self.handle(found, true);
        }
        try self.finishBatch();
        const newlines = std.mem.countScalar(u8, self.data[self.record_start..next], '\n');
        self.record_start = next;
        self.scanner.restart(next);
        self.scanner.newlines = before + newlines;
    }

    /// Hands on the records that the scan completed.
    fn finishRecords(self: *Job) Error!void {
        const scanner = &self.scanner;
        var first: usize = 0;
        for (scanner.records[0..scanner.record_count]) |up_to| {
            const ends = scanner.ends[first..up_to];
            first = up_to;
            const next = ends[ends.len - 1] + 1;
            try self.handle(.{ .data = self.data, .start = self.record_start, .ends = ends }, scanner.invalid_utf8);
            self.record_start = next;
        }
        try self.finishBatch();
        scanner.compact(0);
        // What is wrong may lie in the record that is not complete yet.
        if (self.record_start >= scanner.position) scanner.invalid_utf8 = false;
    }

    /// Moves what is left to the front and reads another block behind it.
    fn readMore(self: *Job, input: *Input) Error!void {
        const left = self.length - self.record_start;
        // A record and its line end; more than that can only be too long.
        if (left > self.request.max_record_bytes + 2) return self.tooLong();
        if (self.record_start != 0) {
            @memmove(self.data[0..left], self.data[self.record_start..self.length]);
            self.scanner.compact(self.record_start);
        }
        self.record_start = 0;
        self.length = left;
        if (self.data.len < left + read_bytes + scan.padding_bytes) {
            self.data = try self.gpa.realloc(self.data, left * 2 + read_bytes + scan.padding_bytes);
        }
        const room = self.data[left .. self.data.len - scan.padding_bytes];
        const count = try input.read(room);
        self.length += count;
        if (count == 0) {
            self.at_end = true;
            @memset(self.data[self.length..][0..scan.padding_bytes], 0);
        }
    }

    // --- one record ---

    /// Takes one record of any kind: an empty line, the header, a data record.
    inline fn handle(self: *Job, found: Record, check_utf8: bool) Error!void {
        if (self.plan) |*plan| {
            if (found.ends.len == plan.width and plan.width > 1 and !check_utf8) {
                const bytes = found.ends[found.ends.len - 1] - found.start;
                if (bytes <= self.request.max_record_bytes) {
                    self.items += 1;
                    return self.take(plan, found);
                }
            }
        }
        return self.handleChecked(found, check_utf8);
    }

    noinline fn handleChecked(self: *Job, found: Record, check_utf8: bool) Error!void {
        if (found.isEmpty()) return;
        const text = found.text();
        try self.checkLength(text.len);
        const invalid = check_utf8 and !std.unicode.utf8ValidateSlice(text);
        if (self.plan == null) {
            if (invalid) return self.failRecord("invalid UTF-8", .{});
            return self.header(found);
        }
        const width = self.plan.?.width;
        if (found.ends.len != width) return self.badShape("{d} fields, expected {d}", .{ found.ends.len, width });
        if (invalid) return self.badShape("invalid UTF-8", .{});
        self.items += 1;
        return self.take(&self.plan.?, found);
    }

    /// The first record: the names of the columns, or with --no-header their number.
    fn header(self: *Job, found: Record) Error!void {
        const arena = self.arena.allocator();
        const names = try arena.alloc([]const u8, found.ends.len);
        for (names, 0..) |*name, column| {
            name.* = if (self.request.no_header)
                try std.fmt.allocPrint(arena, "{d}", .{column + 1})
            else
                try arena.dupe(u8, try found.field(column, self.gpa, &self.scratch));
        }
        self.plan = try Plan.init(self.request, names, arena, self.input_name, self.why);
        self.numbers = try arena.alloc(decimal.Decimal, self.plan.?.values.items.len * batch_rows);
        try self.groups.reset(self.plan.?.values.items.len);
        if (!self.request.no_header) return;
        self.items += 1;
        return self.take(&self.plan.?, found);
    }

    /// A data record of sound shape: filters, numbers, group.
    inline fn take(self: *Job, plan: *const Plan, found: Record) Error!void {
        for (plan.filters) |*planned| {
            if (!(self.passes(planned.filter, planned.column, found) catch |err| return self.badNumber(err, found, planned.column))) return;
        }
        const width = plan.values.items.len;
        const numbers = self.numbers[self.batch_count * width ..][0..width];
        for (plan.values.items, numbers) |value, *number| {
            const text = try found.field(value.column, self.gpa, &self.scratch);
            number.scale = decimal.Decimal.no_scale;
            if (text.len == 0) continue;
            if (value.is_numeric) {
                decimal.parsePadded(text, number) catch |err| return self.badNumber(err, found, value.column);
            } else {
                number.* = .{ .mantissa = 0, .scale = 0 };
            }
        }
        const key = try self.keyOf(plan, found);
        const hash = self.groups.hashKey(key);
        self.groups.prefetchSlot(hash);
        self.batch[self.batch_count] = .{ .key = key, .hash = hash, .record_start = found.start };
        self.batch_count += 1;
        if (self.groups.list.items.len < near_groups or self.batch_count == batch_rows) try self.addBatch(plan);
    }

    /// Adds the rows of the batch to their groups.
    inline fn addBatch(self: *Job, plan: *const Plan) Error!void {
        const count = self.batch_count;
        self.batch_count = 0;
        if (count > 1) {
            for (self.batch[0..count]) |*row| self.groups.prefetchGroup(row.hash);
        }
        const width = plan.values.items.len;
        for (self.batch[0..count], 0..) |*row, i| {
            const group = self.groups.find(row.key, row.hash) catch |err| return self.tooManyGroups(err, row);
            group.rows += 1;
            for (group.accumulators(width), self.numbers[i * width ..][0..width]) |*column, *value| {
                if (value.scale == decimal.Decimal.no_scale) continue;
                column.add(value.*) catch return self.sumOutOfRange(group, row);
            }
        }
        self.keys.clearRetainingCapacity();
    }

    /// Before the data moves, and before anything that comes later fails, the batch must be done.
    fn finishBatch(self: *Job) Error!void {
        if (self.batch_count != 0) try self.addBatch(&self.plan.?);
    }

    inline fn passes(self: *Job, wanted: *const filter.Filter, column: usize, found: Record) (decimal.ParseError || error{OutOfMemory})!bool {
        const text = try found.field(column, self.gpa, &self.scratch);
        if (!wanted.operator.isOrdered()) return wanted.holdsText(text);
        if (text.len == 0) return false;
        var number: decimal.Decimal = undefined;
        try decimal.parsePadded(text, &number);
        return wanted.holdsNumber(number);
    }

    /// The bytes that tell groups apart: the field itself, or every field behind its length.
    inline fn keyOf(self: *Job, plan: *const Plan, found: Record) Error![]const u8 {
        if (plan.keys.len == 1) {
            const text = try found.field(plan.keys[0], self.gpa, &self.scratch);
            // What lies in the scratch memory is gone with the next row.
            return if (text.ptr == self.scratch.items.ptr) self.keepKey(text) else text;
        }
        const bytes_max = found.ends[found.ends.len - 1] - found.start + plan.keys.len * render.KeyFields.length_bytes;
        try self.reserveKey(plan, bytes_max);
        const key = self.keys.unusedCapacitySlice();
        var used: usize = 0;
        for (plan.keys) |column| {
            const text = try found.field(column, self.gpa, &self.scratch);
            std.mem.writeInt(u32, key[used..][0..render.KeyFields.length_bytes], @intCast(text.len), .little);
            copyPadded(key.ptr + used + render.KeyFields.length_bytes, text);
            used += render.KeyFields.length_bytes + text.len;
        }
        self.keys.items.len += used;
        return key[0..used];
    }

    noinline fn keepKey(self: *Job, text: []const u8) Error![]const u8 {
        try self.reserveKey(&self.plan.?, text.len);
        const key = self.keys.unusedCapacitySlice()[0..text.len];
        copyPadded(key.ptr, text);
        self.keys.items.len += text.len;
        return key;
    }

    /// Makes room for a key. The keys of the batch must not move, so it is done before the memory grows.
    inline fn reserveKey(self: *Job, plan: *const Plan, bytes: usize) Error!void {
        const wanted = bytes + aggregate.key_padding_bytes;
        if (self.keys.capacity - self.keys.items.len >= wanted) return;
        return self.growKeys(plan, wanted);
    }

    noinline fn growKeys(self: *Job, plan: *const Plan, wanted: usize) Error!void {
        // The numbers of the row in hand lie behind those of the batch; they become the first.
        const width = plan.values.items.len;
        const row = self.batch_count;
        try self.addBatch(plan);
        if (row != 0) @memcpy(self.numbers[0..width], self.numbers[row * width ..][0..width]);
        try self.keys.ensureTotalCapacity(self.gpa, @max(wanted, key_block_bytes));
    }

    // --- what can be wrong ---

    /// The physical line where the current record starts.
    fn line(self: *const Job) u64 {
        const scanned = @max(self.scanner.position, self.record_start);
        return self.scanner.newlines - std.mem.countScalar(u8, self.data[self.record_start..scanned], '\n') + 1;
    }

    fn failRecord(self: *Job, comptime format: []const u8, args: anytype) Error {
        // A row before this one may have to fail first.
        self.finishBatch() catch |err| return err;
        return self.why.bad("{f}: line {d}: " ++ format, .{ failure.escaped(self.input_name), self.line() } ++ args);
    }

    /// A row of the wrong shape: it counts, and then it fails or is left out.
    noinline fn badShape(self: *Job, comptime format: []const u8, args: anytype) Error!void {
        if (self.plan == null or self.request.on_error == .fail) return self.failRecord(format, args);
        self.items += 1;
        self.skipped += 1;
    }

    noinline fn badNumber(self: *Job, err: (decimal.ParseError || error{OutOfMemory}), found: Record, column: usize) Error!void {
        const what = switch (err) {
            error.OutOfMemory => |e| return e,
            error.NotANumber, error.OutOfRange => |e| filter.describe(e),
        };
        if (self.request.on_error == .skip) {
            self.skipped += 1;
            return;
        }
        const text = try found.field(column, self.gpa, &self.scratch);
        return self.failRecord("column {f}: {s}: {f}", .{ failure.escaped(self.plan.?.column_names[column]), what, failure.quoted(text) });
    }

    noinline fn tooManyGroups(self: *Job, err: aggregate.Groups.Error, row: *const Waiting) Error {
        if (err == error.OutOfMemory) return error.OutOfMemory;
        self.record_start = row.record_start;
        return self.failRecord("more than {d} groups (--max-groups)", .{self.request.max_groups});
    }

    noinline fn sumOutOfRange(self: *Job, group: *const aggregate.Group, row: *const Waiting) Error {
        self.record_start = row.record_start;
        return self.failRecord("sum out of range in group {f}", .{failure.quoted(group.key())});
    }

    fn checkLength(self: *Job, bytes: usize) Error!void {
        if (bytes > self.request.max_record_bytes) return self.tooLong();
    }

    fn tooLong(self: *Job) Error {
        return self.failRecord("record longer than {d} bytes (--max-record-bytes)", .{self.request.max_record_bytes});
    }

    /// The length of the current record without its line end, given where the next one starts.
    fn rawLength(self: *const Job, next: usize) usize {
        var end = next;
        if (end > self.record_start and self.data[end - 1] == '\n') end -= 1;
        if (end < next and end > self.record_start and self.data[end - 1] == '\r') end -= 1;
        return end - self.record_start;
    }
};

/// Copies by sixteen bytes and so up to fifteen more; source and target have the room.
inline fn copyPadded(target: [*]u8, text: []const u8) void {
    var done: usize = 0;
    while (done < text.len) : (done += 16) target[done..][0..16].* = text.ptr[done..][0..16].*;
}
