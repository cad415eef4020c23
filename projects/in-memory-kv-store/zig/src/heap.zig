//! The memory of the store: cells of fixed sizes, cut from spans of 64 KiB and 1 MiB.
//!
//! A store holds millions of small blocks for long, so what counts is the waste per block: sizes go up in steps of 8
//! bytes up to 256, then in eighths of a power of two, and a cell has no header. Whoever frees a cell knows its size.
//! Every byte handed out is counted, which makes `maxmemory` exact, and all of it can be dropped at once (FLUSHALL).

const std = @import("std");
const Alignment = std.mem.Alignment;

const header_bytes = 64;
const huge_page_bytes = 2 << 20;
const chunk_bytes = 4 << 20;
/// Larger cells live in the large spans: at least 15 cells share a span.
const small_cell_max = 4 << 10;
/// Larger blocks are mapped one by one.
const cell_max = 128 << 10;
/// As many empty spans of a size keep their pages; the pages of others go back to the kernel.
const warm_spans_max = 16;

const exact_max = 256;
const exact_classes = exact_max / 8;
const class_count = exact_classes + 9 * 8;

const class_bytes: [class_count]u32 = blk: {
    var sizes: [class_count]u32 = undefined;
    for (&sizes, 0..) |*size, class| {
        if (class < exact_classes) {
            size.* = (class + 1) * 8;
        } else {
            const step = class - exact_classes;
            const power = 1 << (8 + step / 8);
            size.* = power + (step % 8 + 1) * (power / 8);
        }
    }
    break :blk sizes;
};

fn classOf(bytes: usize) usize {
    if (bytes <= exact_max) return (bytes - 1) / 8;
    const log: u6 = @intCast(63 - @clz(bytes - 1));
    return exact_classes + (@as(usize, log) - 8) * 8 + (((bytes - 1) >> (log - 3)) & 7);
}

const FreeCell = extern struct { next: ?*FreeCell };

/// Cells of one size; the address of a span is a multiple of its size, so a cell finds its span.
const Span = extern struct {
    next: ?*Span,
    prev: ?*Span,
    free: ?*FreeCell,
    /// Where the first cell starts that was never used.
    fresh: u32,
    /// Where the last cell ends.
    end: u32,
    used: u32,
    class: u32,

    fn isFull(self: *const Span) bool {
        return self.free == null and self.fresh == self.end;
    }
};

/// A block of its own, in a list so that all can be dropped at once.
const Large = extern struct {
    next: ?*Large,
    prev: ?*Large,
    mapped_bytes: usize,
    padding: [5]usize,
};

comptime {
    std.debug.assert(@sizeOf(Span) <= header_bytes and @sizeOf(Large) == header_bytes);
    std.debug.assert(class_bytes[class_count - 1] == cell_max);
}

/// Spans of one size that hold nothing.
const Pool = struct {
    span_bytes: usize,
    idle: ?*Span = null,
    idle_count: usize = 0,
    /// What is left of the chunk that is being cut.
    rest: []u8 = &.{},
};

pub const Heap = struct {
    /// Spans that have a free cell, by class.
    open: [class_count]?*Span = @splat(null),
    small: Pool = .{ .span_bytes = 64 << 10 },
    large: Pool = .{ .span_bytes = 1 << 20 },
    blocks: ?*Large = null,
    chunks: std.ArrayList([*]u8) = .empty,
    /// Blocks that start at a huge page: segments of tables.
    huge: std.ArrayList([]u8) = .empty,
    /// Bytes handed out, rounded up as they take memory.
    used_bytes: usize = 0,

    const pages = std.heap.page_allocator;

    /// What a block of this size takes.
    pub fn roundUp(bytes: usize) usize {
        return if (bytes <= cell_max) class_bytes[classOf(bytes)] else mappedBytes(bytes);
    }

    pub fn alloc(self: *Heap, bytes: usize) error{OutOfMemory}![*]align(8) u8 {
        if (bytes > cell_max) return self.allocLarge(bytes);
        const class = classOf(bytes);
        const span = self.open[class] orelse try self.addSpan(class);
        self.used_bytes += class_bytes[class];
        span.used += 1;
        const cell: [*]align(8) u8 = if (span.free) |cell| blk: {
            span.free = cell.next;
            break :blk @ptrCast(cell);
        } else blk: {
            const base: [*]u8 = @ptrCast(span);
            defer span.fresh += class_bytes[class];
            break :blk @alignCast(base + span.fresh);
        };
        if (span.isFull()) self.closeSpan(span);
        return cell;
    }

    /// Takes back a block; `bytes` is what was asked for.
    pub fn free(self: *Heap, block: [*]align(8) u8, bytes: usize) void {
        if (bytes > cell_max) return self.freeLarge(block);
        const class = classOf(bytes);
        self.used_bytes -= class_bytes[class];
        const span_bytes = self.poolOf(class).span_bytes;
        const span: *Span = @ptrFromInt(@intFromPtr(block) & ~(span_bytes - 1));
        const was_full = span.isFull();
        const cell: *FreeCell = @ptrCast(block);
        cell.next = span.free;
        span.free = cell;
        span.used -= 1;
        if (was_full) self.openSpan(span);
        // The last span of a class stays, so that a single block that comes and goes is cheap.
        if (span.used == 0 and (span.next != null or span.prev != null)) self.releaseSpan(span);
    }

    /// Drops every block at once.
    pub fn reset(self: *Heap) void {
        while (self.blocks) |block| {
            self.blocks = block.next;
            pages.rawFree(bytesOf(block), pageAlignment(), @returnAddress());
        }
        for (self.chunks.items) |chunk| pages.rawFree(chunk[0..chunk_bytes], chunk_alignment, @returnAddress());
        for (self.huge.items) |block| pages.rawFree(block, chunk_alignment, @returnAddress());
        self.huge.deinit(pages);
        self.chunks.deinit(pages);
        self.* = .{};
    }

    /// For what is written against the general interface: arrays of buckets, lists.
    pub fn allocator(self: *Heap) std.mem.Allocator {
        return .{ .ptr = self, .vtable = &.{ .alloc = vtableAlloc, .resize = vtableResize, .remap = vtableRemap, .free = vtableFree } };
    }

    // --- Spans ----------------------------------------------------------------------------

    const chunk_alignment: Alignment = .fromByteUnits(huge_page_bytes);

    fn poolOf(self: *Heap, class: usize) *Pool {
        return if (class <= comptime classOf(small_cell_max)) &self.small else &self.large;
    }

    fn addSpan(self: *Heap, class: usize) error{OutOfMemory}!*Span {
        @branchHint(.unlikely);
        const pool = self.poolOf(class);
        const span = try self.takeSpan(pool);
        const cells = (pool.span_bytes - header_bytes) / class_bytes[class];
        span.* = .{
            .next = null,
            .prev = null,
            .free = null,
            .fresh = header_bytes,
            .end = @intCast(header_bytes + cells * class_bytes[class]),
            .used = 0,
            .class = @intCast(class),
        };
        self.open[class] = span;
        return span;
    }

    fn takeSpan(self: *Heap, pool: *Pool) error{OutOfMemory}!*Span {
        if (pool.idle) |span| {
            pool.idle = span.next;
            pool.idle_count -= 1;
            return span;
        }
        if (pool.rest.len == 0) {
            try self.chunks.ensureUnusedCapacity(pages, 1);
            const chunk = pages.rawAlloc(chunk_bytes, chunk_alignment, @returnAddress()) orelse return error.OutOfMemory;
            self.chunks.appendAssumeCapacity(chunk);
            adviseHuge(chunk[0..chunk_bytes]);
            pool.rest = chunk[0..chunk_bytes];
        }
        defer pool.rest = pool.rest[pool.span_bytes..];
        return @ptrCast(@alignCast(pool.rest.ptr));
    }

    /// Keys are met in no order, so nearly every access would miss the cache of page addresses with pages of 4 KiB.
    fn adviseHuge(memory: []u8) void {
        if (memory.len >= huge_page_bytes) _ = std.os.linux.madvise(memory.ptr, memory.len, std.os.linux.MADV.HUGEPAGE);
    }

    fn openSpan(self: *Heap, span: *Span) void {
        const first = self.open[span.class];
        span.prev = null;
        span.next = first;
        if (first) |other| other.prev = span;
        self.open[span.class] = span;
    }

    fn closeSpan(self: *Heap, span: *Span) void {
        if (span.prev) |prev| prev.next = span.next else self.open[span.class] = span.next;
        if (span.next) |next| next.prev = span.prev;
        span.next = null;
        span.prev = null;
    }

    fn releaseSpan(self: *Heap, span: *Span) void {
        const pool = self.poolOf(span.class);
        self.closeSpan(span);
        if (pool.idle_count >= warm_spans_max) {
            // The page of the header stays: it links the idle spans.
            const page_bytes = std.heap.pageSize();
            const base: [*]u8 = @ptrCast(span);
            if (pool.span_bytes > page_bytes) _ = std.os.linux.madvise(base + page_bytes, pool.span_bytes - page_bytes, std.os.linux.MADV.DONTNEED);
        }
        span.next = pool.idle;
        pool.idle = span;
        pool.idle_count += 1;
    }

    // --- Large blocks ---------------------------------------------------------------------

    fn pageAlignment() Alignment {
        return .fromByteUnits(std.heap.pageSize());
    }

    fn mappedBytes(bytes: usize) usize {
        return std.mem.alignForward(usize, bytes + header_bytes, std.heap.pageSize());
    }

    fn bytesOf(block: *Large) []u8 {
        const base: [*]u8 = @ptrCast(block);
        return base[0..block.mapped_bytes];
    }

    fn allocLarge(self: *Heap, bytes: usize) error{OutOfMemory}![*]align(8) u8 {
        if (bytes > 1 << 46) return error.OutOfMemory;
        const mapped = mappedBytes(bytes);
        const base = pages.rawAlloc(mapped, pageAlignment(), @returnAddress()) orelse return error.OutOfMemory;
        const block: *Large = @ptrCast(@alignCast(base));
        block.mapped_bytes = mapped;
        self.link(block);
        self.used_bytes += mapped;
        adviseHuge(base[0..mapped]);
        return @alignCast(base + header_bytes);
    }

    fn link(self: *Heap, block: *Large) void {
        block.prev = null;
        block.next = self.blocks;
        if (self.blocks) |first| first.prev = block;
        self.blocks = block;
    }

    fn unlink(self: *Heap, block: *Large) void {
        if (block.prev) |prev| prev.next = block.next else self.blocks = block.next;
        if (block.next) |next| next.prev = block.prev;
    }

    fn freeLarge(self: *Heap, memory: [*]align(8) u8) void {
        const block: *Large = @ptrCast(memory - header_bytes);
        self.unlink(block);
        self.used_bytes -= block.mapped_bytes;
        pages.rawFree(bytesOf(block), pageAlignment(), @returnAddress());
    }

    /// Moves pages instead of bytes.
    fn remapLarge(self: *Heap, memory: [*]align(8) u8, bytes: usize) ?[*]u8 {
        var block: *Large = @ptrCast(memory - header_bytes);
        const old_bytes = block.mapped_bytes;
        const mapped = mappedBytes(bytes);
        if (mapped == old_bytes) return memory;
        self.unlink(block);
        if (pages.rawRemap(bytesOf(block), pageAlignment(), mapped, @returnAddress())) |base| {
            block = @ptrCast(@alignCast(base));
            block.mapped_bytes = mapped;
            self.link(block);
            self.used_bytes = self.used_bytes - old_bytes + mapped;
            adviseHuge(base[0..mapped]);
            return base + header_bytes;
        }
        self.link(block);
        return null;
    }

    fn allocHuge(self: *Heap, bytes: usize) ?[*]u8 {
        self.huge.ensureUnusedCapacity(pages, 1) catch return null;
        const block = pages.rawAlloc(bytes, chunk_alignment, @returnAddress()) orelse return null;
        adviseHuge(block[0..bytes]);
        self.huge.appendAssumeCapacity(block[0..bytes]);
        self.used_bytes += bytes;
        return block;
    }

    fn freeHuge(self: *Heap, memory: []u8) void {
        for (self.huge.items, 0..) |block, i| if (block.ptr == memory.ptr) {
            _ = self.huge.swapRemove(i);
            break;
        };
        self.used_bytes -= memory.len;
        pages.rawFree(memory, chunk_alignment, @returnAddress());
    }

    // --- The general interface ------------------------------------------------------------

    /// A size that is a multiple of 64 is in a class that is one too, and such cells lie at multiples of 64.
    fn aligned(bytes: usize, alignment: Alignment) usize {
        std.debug.assert(alignment.toByteUnits() <= header_bytes);
        return if (alignment.toByteUnits() > 8) std.mem.alignForward(usize, bytes, header_bytes) else bytes;
    }

    fn vtableAlloc(context: *anyopaque, bytes: usize, alignment: Alignment, _: usize) ?[*]u8 {
        const self: *Heap = @ptrCast(@alignCast(context));
        if (alignment == chunk_alignment) return self.allocHuge(bytes);
        return self.alloc(aligned(bytes, alignment)) catch null;
    }

    fn vtableResize(_: *anyopaque, memory: []u8, alignment: Alignment, bytes: usize, _: usize) bool {
        if (alignment == chunk_alignment) return false;
        const old = aligned(memory.len, alignment);
        const new = aligned(bytes, alignment);
        if (old > cell_max or new > cell_max) return false;
        return classOf(old) == classOf(new);
    }

    fn vtableRemap(context: *anyopaque, memory: []u8, alignment: Alignment, bytes: usize, _: usize) ?[*]u8 {
        if (alignment == chunk_alignment) return null;
        const self: *Heap = @ptrCast(@alignCast(context));
        const old = aligned(memory.len, alignment);
        const new = aligned(bytes, alignment);
        if (old > cell_max and new > cell_max) return self.remapLarge(@alignCast(memory.ptr), new);
        if (old > cell_max or new > cell_max) return null;
        return if (classOf(old) == classOf(new)) memory.ptr else null;
    }

    fn vtableFree(context: *anyopaque, memory: []u8, alignment: Alignment, _: usize) void {
        const self: *Heap = @ptrCast(@alignCast(context));
        if (alignment == chunk_alignment) return self.freeHuge(memory);
        self.free(@alignCast(memory.ptr), aligned(memory.len, alignment));
    }
};

test "classes waste at most an eighth, or seven bytes" {
    for (1..cell_max + 1) |bytes| {
        const size = class_bytes[classOf(bytes)];
        try std.testing.expect(size >= bytes);
        try std.testing.expect(size - bytes <= @max(7, bytes / 8));
    }
}

test "cells do not overlap and their memory comes back" {
    var heap: Heap = .{};
    defer heap.reset();
    var random: std.Random.DefaultPrng = .init(1);
    const Block = struct { bytes: []align(8) u8, mark: u8 };
    var blocks: std.ArrayList(Block) = .empty;
    defer blocks.deinit(std.testing.allocator);
    for (0..20_000) |round| {
        if (random.random().boolean() or blocks.items.len < 10) {
            const bytes = random.random().intRangeAtMost(usize, 1, if (round % 50 == 0) 300_000 else 400);
            const block: Block = .{ .bytes = (try heap.alloc(bytes))[0..bytes], .mark = @truncate(round) };
            @memset(block.bytes, block.mark);
            try blocks.append(std.testing.allocator, block);
        } else {
            const block = blocks.swapRemove(random.random().uintLessThan(usize, blocks.items.len));
            for (block.bytes) |byte| try std.testing.expectEqual(block.mark, byte);
            heap.free(block.bytes.ptr, block.bytes.len);
        }
    }
    for (blocks.items) |block| heap.free(block.bytes.ptr, block.bytes.len);
    try std.testing.expectEqual(0, heap.used_bytes);
}

test "the general interface keeps alignment and moves large blocks" {
    var heap: Heap = .{};
    defer heap.reset();
    const gpa = heap.allocator();
    var bytes = try gpa.alignedAlloc(u8, .@"64", 64);
    bytes[0] = 7;
    while (bytes.len < 4 << 20) {
        bytes = try gpa.realloc(bytes, bytes.len * 2);
        try std.testing.expect(std.mem.isAligned(@intFromPtr(bytes.ptr), 64));
        try std.testing.expectEqual(7, bytes[0]);
    }
    bytes = try gpa.realloc(bytes, 64);
    try std.testing.expectEqual(7, bytes[0]);
    gpa.free(bytes);
    try std.testing.expectEqual(0, heap.used_bytes);
}
