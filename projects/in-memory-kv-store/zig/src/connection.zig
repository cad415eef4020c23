//! Commands about the connection, and about the commands.

const std = @import("std");
const commands = @import("commands.zig");
const numbers = @import("numbers.zig");
const Session = @import("transactions.zig").Session;
const Context = commands.Context;
const Error = commands.Error;

/// The version of redis that clients are told, for those who adapt to it.
pub const redis_version = "7.0.15";

pub fn ping(ctx: *Context) Error!void {
    if (ctx.args.len > 2) return error.Arity;
    if (ctx.args.len == 2) try ctx.out.bulk(ctx.args[1]) else try ctx.out.status("PONG");
}

pub fn echo(ctx: *Context) Error!void {
    try ctx.out.bulk(ctx.args[1]);
}

pub fn quit(ctx: *Context) Error!void {
    ctx.session.is_closing = true;
    try ctx.out.status("OK");
}

pub fn select(ctx: *Context) Error!void {
    if (try databaseIndex(ctx, 1) != 0) return ctx.fail("ERR DB index is out of range", .{});
    try ctx.out.status("OK");
}

/// The number of a database: a 32-bit integer; only 0 is there.
pub fn databaseIndex(ctx: *Context, index: usize) Error!i64 {
    const value = try ctx.int(index);
    const least = std.math.minInt(i32);
    const most = std.math.maxInt(i32);
    if (value < least or value > most) return ctx.fail("ERR value is out of range, value must between {d} and {d}", .{ least, most });
    return value;
}

pub fn reset(ctx: *Context) Error!void {
    ctx.session.discard();
    try ctx.session.setName("");
    try ctx.out.status("RESET");
}

pub fn hello(ctx: *Context) Error!void {
    if (ctx.args.len >= 2) {
        const version = numbers.parseInt(ctx.args[1]) orelse return ctx.fail("ERR Protocol version is not an integer or out of range", .{});
        if (version != 2) return ctx.fail("NOPROTO unsupported protocol version", .{});
        var i: usize = 2;
        while (i < ctx.args.len) : (i += 1) {
            const left = ctx.args.len - 1 - i;
            if (ctx.is(i, "AUTH") and left >= 2) {
                // There is one user, without a password.
                if (!std.mem.eql(u8, ctx.args[i + 1], "default")) return ctx.fail("WRONGPASS invalid username-password pair or user is disabled.", .{});
                i += 2;
            } else if (ctx.is(i, "SETNAME") and left >= 1) {
                try setName(ctx, ctx.args[i + 1]);
                i += 1;
            } else {
                return ctx.fail("ERR Syntax error in HELLO option '{s}'", .{commands.shown(ctx.args[i])});
            }
        }
    }
    try replyHello(ctx);
}

fn replyHello(ctx: *Context) Error!void {
    const out = ctx.out;
    try out.array(14);
    for ([_][]const u8{ "server", "redis", "version", redis_version, "proto" }) |text| try out.bulk(text);
    try out.int(2);
    try out.bulk("id");
    try out.count(ctx.session.id);
    for ([_][]const u8{ "mode", "standalone", "role", "master", "modules" }) |text| try out.bulk(text);
    try out.array(0);
}

// --- CLIENT -------------------------------------------------------------------------------------

const ClientCommand = enum { id, getname, setname, setinfo, list, @"no-evict" };

pub fn client(ctx: *Context) Error!void {
    const subcommand = subcommandOf(ClientCommand, ctx) orelse return commands.refuseSubcommand(ctx);
    const arity: usize = switch (subcommand) {
        .id, .getname => 2,
        .setname, .@"no-evict" => 3,
        .setinfo => 4,
        .list => @max(2, ctx.args.len),
    };
    if (ctx.args.len != arity) return commands.refuseSubcommandArity(ctx, @tagName(subcommand));
    switch (subcommand) {
        .id => try ctx.out.count(ctx.session.id),
        .getname => try ctx.out.optional(if (ctx.session.name.len == 0) null else ctx.session.name),
        .setname => {
            try setName(ctx, ctx.args[2]);
            try ctx.out.status("OK");
        },
        .setinfo => {
            if (!ctx.is(2, "LIB-NAME") and !ctx.is(2, "LIB-VER")) return ctx.fail("ERR Unrecognized option '{s}'", .{commands.shown(ctx.args[2])});
            try ctx.out.status("OK");
        },
        .@"no-evict" => {
            if (!ctx.is(2, "on") and !ctx.is(2, "off")) return error.Syntax;
            try ctx.out.status("OK");
        },
        .list => try listClients(ctx),
    }
}

/// The subcommand by its name in letters of any case.
pub fn subcommandOf(comptime Subcommand: type, ctx: *const Context) ?Subcommand {
    for (std.enums.values(Subcommand)) |subcommand| {
        if (ctx.is(1, @tagName(subcommand))) return subcommand;
    }
    return null;
}

fn setName(ctx: *Context, name: []const u8) Error!void {
    for (name) |byte| if (byte < '!' or byte > '~') {
        return ctx.fail("ERR Client names cannot contain spaces, newlines or special characters.", .{});
    };
    try ctx.session.setName(name);
}

fn listClients(ctx: *Context) Error!void {
    if (ctx.args.len != 2) return error.Syntax;
    var text: std.Io.Writer.Allocating = .init(ctx.engine.gpa);
    defer text.deinit();
    var node = ctx.engine.sessions.first;
    while (node) |at| : (node = at.next) {
        const session: *Session = @alignCast(@fieldParentPtr("node", at));
        describe(session, ctx.store.now_ms, &text.writer) catch return error.OutOfMemory;
    }
    try ctx.out.bulk(text.written());
}

fn describe(session: *const Session, now_ms: i64, writer: *std.Io.Writer) std.Io.Writer.Error!void {
    const queued: i64 = if (session.transaction) |transaction| @intCast(transaction.count) else -1;
    try writer.print("id={d} addr={s} laddr={s} fd={d} name={s} age={d} idle={d} flags={s} db=0 sub=0 psub=0 ssub=0 multi={d} events=r cmd={s} user=default redir=-1 resp=2\n", .{
        session.id,
        session.address,
        session.local_address,
        session.fd,
        session.name,
        @divTrunc(now_ms - session.created_ms, 1000),
        @divTrunc(now_ms - session.used_ms, 1000),
        if (session.transaction != null) "x" else "N",
        queued,
        session.last_command,
    });
}

// --- COMMAND ------------------------------------------------------------------------------------

const CommandCommand = enum { count, info, docs };

pub fn command(ctx: *Context) Error!void {
    if (ctx.args.len == 1) return replyTable(ctx);
    const subcommand = subcommandOf(CommandCommand, ctx) orelse return commands.refuseSubcommand(ctx);
    switch (subcommand) {
        .count => {
            if (ctx.args.len != 2) return commands.refuseSubcommandArity(ctx, "count");
            try ctx.out.count(commands.table.len);
        },
        .info => {
            if (ctx.args.len == 2) return replyTable(ctx);
            try ctx.out.array(ctx.args.len - 2);
            for (ctx.args[2..]) |name| {
                if (commands.find(name)) |found| try replyCommand(ctx, found) else try ctx.out.nilArray();
            }
        },
        // Documentation is not our job.
        .docs => try ctx.out.array(0),
    }
}

fn replyTable(ctx: *Context) Error!void {
    try ctx.out.array(commands.table.len);
    for (&commands.table) |*entry| try replyCommand(ctx, entry);
}

fn replyCommand(ctx: *Context, entry: *const commands.Command) Error!void {
    const out = ctx.out;
    try out.array(10);
    try out.bulk(entry.name);
    try out.int(entry.arity);
    const kind = if (entry.flags.write) "+write\r\n" else "+readonly\r\n";
    try out.array(1 + @as(usize, @intFromBool(entry.flags.deny_oom)) + @intFromBool(entry.flags.fast));
    try out.raw(kind);
    if (entry.flags.deny_oom) try out.status("denyoom");
    if (entry.flags.fast) try out.status("fast");
    try out.int(entry.first_key);
    try out.int(entry.last_key);
    try out.int(entry.key_step);
    // Categories, tips, key specifications, subcommands.
    for (0..4) |_| try out.array(0);
}
