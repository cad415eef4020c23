//! Bulk mode: all questions of a file, many in flight, one line for each.

const std = @import("std");
const canonical = @import("canonical.zig");
const failure = @import("failure.zig");
const net = @import("net.zig");
const resolve = @import("resolve.zig");
const stats = @import("stats.zig");
const wire = @import("wire.zig");
const Answer = @import("cache.zig").Answer;
const Cut = @import("cut.zig").Cut;
const Key = @import("cache.zig").Key;
const Options = @import("options.zig").Options;
const Io = std.Io;

const file_bytes_max = 4 << 30;
const events_per_wait = 256;
/// So many questions are begun before sockets are looked after again.
const starts_per_turn = 256;
const standard_stream = "-";

/// Does the whole job again and again, on one clock. The last answers are the ones stored: they are equal to all
/// others, and a failure before them leaves no trace.
pub fn run(io: Io, gpa: std.mem.Allocator, options: *const Options, root: *const Cut, why: *failure.Failure) failure.Error!void {
    const bulk = try gpa.create(Bulk);
    try bulk.init(io, gpa, options, root, why);
    var hash: std.hash.XxHash64 = .init(0);
    var items: u64 = 0;
    const started_ns = net.nowNs();
    for (0..options.repeats) |_| {
        try bulk.resolveAll();
        for (bulk.lines.items) |line| hash.update(bulk.text.written()[line.start..line.end]);
        items += bulk.lines.items.len;
    }
    const elapsed_ns = net.nowNs() - started_ns;
    try bulk.storeLines();
    if (std.mem.eql(u8, options.output, standard_stream)) return;
    var buffer: [512]u8 = undefined;
    return net.print(stats.block(&buffer, items, options.repeats, elapsed_ns, hash.final()), why);
}

const Question = struct {
    /// Where the name is among the names.
    at: usize,
    length: u8,
    type: u16,
};

const Line = struct { start: usize, end: usize };

/// A question under way.
const Slot = struct {
    waiter: resolve.Waiter = .{ .deliver = Bulk.onAnswer },
    bulk: *Bulk,
    index: usize,
};

const Bulk = struct {
    io: Io,
    gpa: std.mem.Allocator,
    options: *const Options,
    why: *failure.Failure,
    poll: net.Poll,
    signals: net.Fd,
    signals_source: net.Source = .{ .kind = .signals },
    counters: stats.Counters = .{},
    resolver: resolve.Resolver,
    /// The file; standard input can be read only once.
    input: []u8 = &.{},
    names: std.ArrayList(u8) = .empty,
    questions: std.ArrayList(Question) = .empty,
    /// Lines in the order in which they were found, and where each question's line is.
    text: Io.Writer.Allocating,
    lines: std.ArrayList(Line) = .empty,
    formatter: canonical.Lines,
    message: []u8,
    slots: std.heap.MemoryPool(Slot) = .empty,
    next: usize = 0,
    in_flight: usize = 0,
    answered: usize = 0,
    is_out_of_memory: bool = false,

    fn init(self: *Bulk, io: Io, gpa: std.mem.Allocator, options: *const Options, root: *const Cut, why: *failure.Failure) failure.Error!void {
        self.* = .{
            .io = io,
            .gpa = gpa,
            .options = options,
            .why = why,
            .poll = try .open(why),
            .signals = try net.openSignals(.counters, why),
            .resolver = undefined,
            .text = .init(gpa),
            .formatter = .{ .gpa = gpa },
            .message = try gpa.alloc(u8, wire.message_bytes_max),
        };
        try self.resolver.init(io, gpa, options, root, self.poll, &self.counters);
        // Room for the questions under way, and for the addresses of servers that each may need.
        self.resolver.tasks_max = @max(self.resolver.tasks_max, 4 * @as(usize, options.in_flight));
        if (!self.poll.watch(self.signals, net.socket_events, &self.signals_source)) return error.OutOfMemory;
    }

    // --- questions ---

    fn readInput(self: *Bulk) failure.Error!void {
        const path = self.options.bulk;
        if (!std.mem.eql(u8, path, standard_stream)) {
            self.gpa.free(self.input);
            self.input = &.{};
            self.input = Io.Dir.cwd().readFileAlloc(self.io, path, self.gpa, .limited(file_bytes_max)) catch |err| return self.why.path(path, err);
        } else if (self.input.len == 0) {
            var buffer: [64 << 10]u8 = undefined;
            var reader = Io.File.stdin().readerStreaming(self.io, &buffer);
            self.input = reader.interface.allocRemaining(self.gpa, .limited(file_bytes_max)) catch |err| return self.why.path("standard input", err);
        }
    }

    /// Reads a name and a type on each line. Empty lines and comments are skipped.
    fn parseQuestions(self: *Bulk) failure.Error!void {
        self.names.clearRetainingCapacity();
        self.questions.clearRetainingCapacity();
        var number: usize = 0;
        var rest = std.mem.splitScalar(u8, self.input, '\n');
        while (rest.next()) |line| {
            number += 1;
            var words = std.mem.tokenizeAny(u8, line, " \t\r");
            const first = words.next() orelse continue;
            if (first[0] == ';') continue;
            const second = words.next();
            if (second == null or words.next() != null) return self.fail(number, "not a name and a type", std.mem.trim(u8, line, " \t\r"));
            const name = canonical.parseName(first) catch |err| return self.fail(number, canonical.nameReason(err), first);
            const kind = canonical.parseType(second.?) orelse return self.fail(number, "unknown type", second.?);
            try self.questions.append(self.gpa, .{ .at = self.names.items.len, .length = name.length, .type = kind });
            try self.names.appendSlice(self.gpa, name.slice());
        }
    }

    fn fail(self: *Bulk, line: usize, reason: []const u8, value: []const u8) error{Failed} {
        return self.why.bad("{f}: line {d}: {s}: {f}", .{ failure.escaped(self.options.bulk), line, reason, failure.quoted(value) });
    }

    fn nameOf(self: *const Bulk, question: *const Question) []const u8 {
        return self.names.items[question.at..][0..question.length];
    }

    // --- answers ---

    /// Answers all questions from an empty cache.
    fn resolveAll(self: *Bulk) failure.Error!void {
        try self.readInput();
        try self.parseQuestions();
        self.resolver.cache.clear();
        self.text.clearRetainingCapacity();
        try self.lines.resize(self.gpa, self.questions.items.len);
        self.next = 0;
        self.answered = 0;
        self.resolver.now_ms = net.nowMs();
        while (self.answered < self.questions.items.len) {
            self.start();
            self.resolver.runReady();
            if (self.is_out_of_memory) return error.OutOfMemory;
            if (self.answered < self.questions.items.len) self.turn();
        }
    }

    /// Begins with the next questions, as many as may be under way.
    fn start(self: *Bulk) void {
        for (0..starts_per_turn) |_| {
            if (!self.canStart()) return;
            self.in_flight += 1;
            self.next += 1;
            self.begin(self.next - 1) catch self.take(self.next - 1, &.{ .rcode = wire.Rcode.servfail });
        }
    }

    fn canStart(self: *const Bulk) bool {
        return self.next < self.questions.items.len and self.in_flight < self.options.in_flight;
    }

    fn begin(self: *Bulk, index: usize) error{ Busy, OutOfMemory }!void {
        self.counters.add("queries", 1);
        const question = &self.questions.items[index];
        if (wire.isMeta(question.type)) return self.take(index, &.{ .rcode = wire.Rcode.notimp });
        var lowered: [wire.name_bytes_max]u8 = undefined;
        const key: Key = .init(wire.lower(&lowered, self.nameOf(question)), question.type);
        if (self.resolver.cache.find(&key, self.resolver.now_ms)) |entry| {
            self.counters.add("hits", 1);
            return self.take(index, &entry.answer(self.resolver.now_ms));
        }
        self.counters.add("misses", 1);
        const slot = try self.slots.create(self.gpa);
        errdefer self.slots.destroy(slot);
        slot.* = .{ .bulk = self, .index = index };
        try self.resolver.ask(self.nameOf(question), &key, &slot.waiter);
    }

    fn onAnswer(waiter: *resolve.Waiter, answer: *const Answer) void {
        const slot: *Slot = @fieldParentPtr("waiter", waiter);
        const self = slot.bulk;
        self.take(slot.index, answer);
        self.slots.destroy(slot);
    }

    fn take(self: *Bulk, index: usize, answer: *const Answer) void {
        if (answer.rcode == wire.Rcode.servfail) self.counters.add("servfail", 1);
        self.in_flight -= 1;
        self.answered += 1;
        const question = &self.questions.items[index];
        const name = self.nameOf(question);
        const line_at = self.text.written().len;
        const message = answer.rebuild(self.message, name);
        // The text is in memory, so nothing else can fail.
        self.formatter.write(&self.text.writer, name, question.type, answer, message) catch {
            self.is_out_of_memory = true;
        };
        self.lines.items[index] = .{ .start = line_at, .end = self.text.written().len };
    }

    /// Waits for servers, and takes what they say.
    fn turn(self: *Bulk) void {
        const resolver = &self.resolver;
        var storage: [events_per_wait]net.Poll.Event = undefined;
        const events = self.poll.wait(&storage, if (self.canStart()) 0 else resolver.timers.waitMs(resolver.now_ms));
        resolver.now_ms = net.nowMs();
        for (events) |*event| {
            const source: *net.Source = @ptrFromInt(event.data.ptr);
            if (source.kind == .signals) self.report() else resolver.onEvent(source, event.events);
        }
        while (resolver.timers.takeExpired(resolver.now_ms)) |expired| resolver.onTimeout(expired[0]);
        resolver.runReady();
        resolver.upstream.reap();
    }

    fn report(self: *Bulk) void {
        _ = net.takeSignals(self.signals);
        var buffer: [512]u8 = undefined;
        failure.report("{s}", .{stats.line(&buffer, &.{&self.counters})});
    }

    // --- output ---

    /// Writes the lines in the order of the questions: to standard output, in place, or to a file that appears whole or
    /// not at all.
    fn storeLines(self: *Bulk) failure.Error!void {
        const path = self.options.output;
        if (path.len == 0) return;
        if (std.mem.eql(u8, path, standard_stream)) return self.writeLines(.stdout(), "standard output");
        if (Io.Dir.cwd().statFile(self.io, path, .{})) |stat| {
            if (stat.kind == .directory) return self.why.path(path, error.IsDir);
            if (stat.kind != .file) {
                const file = Io.Dir.cwd().openFile(self.io, path, .{ .mode = .write_only }) catch |err| return self.why.path(path, err);
                return self.writeLines(file, path);
            }
        } else |_| {}
        var atomic = Io.Dir.cwd().createFileAtomic(self.io, path, .{ .replace = true }) catch |err| return self.why.path(path, err);
        defer atomic.deinit(self.io);
        try self.writeLines(atomic.file, path);
        atomic.replace(self.io) catch |err| return self.why.path(path, err);
    }

    fn writeLines(self: *Bulk, file: Io.File, name: []const u8) error{Failed}!void {
        var buffer: [64 << 10]u8 = undefined;
        var writer = file.writerStreaming(self.io, &buffer);
        for (self.lines.items) |line| {
            writer.interface.writeAll(self.text.written()[line.start..line.end]) catch return self.writeFailed(writer.err.?, name);
        }
        writer.interface.flush() catch return self.writeFailed(writer.err.?, name);
    }

    /// A reader that went away is a failure without a text.
    fn writeFailed(self: *Bulk, err: anyerror, name: []const u8) error{Failed} {
        return if (err == error.BrokenPipe) self.why.silent() else self.why.path(name, err);
    }
};
