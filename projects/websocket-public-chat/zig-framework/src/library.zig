//! libwebsockets, as far as we use it: a context for each thread that is driven by our poll, and the calls on one
//! WebSocket. It speaks the handshake, takes the frames apart and answers pings; what goes out in great numbers is
//! framed once for all receivers and handed to it as it is.

const std = @import("std");
const c = @import("c");
const failure = @import("failure.zig");
const net = @import("net.zig");
const Connection = @import("connection.zig").Connection;
const Worker = @import("server.zig").Worker;

pub const Socket = c.struct_lws;

/// What the library reads at a time, and the buffer that each of its WebSockets has for it.
const receive_bytes = 1024;
/// The most that one write may be.
pub const write_bytes_max = 64 << 10;
/// Room that the library wants in front of what it writes.
pub const write_headroom = c.LWS_PRE;
const name = "chat";

/// No pings of its own: that we do, and more exactly.
const no_pings: c.lws_retry_bo_t = std.mem.zeroes(c.lws_retry_bo_t);

const protocols = [_]c.struct_lws_protocols{
    .{
        .name = name,
        .callback = onEvent,
        .per_session_data_size = @sizeOf(?*Connection),
        .rx_buffer_size = receive_bytes,
        .tx_packet_size = write_bytes_max,
    },
    std.mem.zeroes(c.struct_lws_protocols),
};

pub const Context = struct {
    handle: *c.struct_lws_context,
    vhost: *c.struct_lws_vhost,

    pub fn open(worker: *Worker, why: *failure.Failure) error{Failed}!Context {
        c.lws_set_log_level(0, null);
        var info = std.mem.zeroes(c.struct_lws_context_creation_info);
        info.port = c.CONTEXT_PORT_NO_LISTEN_SERVER;
        info.protocols = &protocols;
        info.user = worker;
        info.gid = -1;
        info.uid = -1;
        info.retry_and_idle_policy = &no_pings;
        const handle = c.lws_create_context(&info) orelse return why.machine("cannot start libwebsockets", .{});
        const vhost = c.lws_get_vhost_by_name(handle, "default") orelse return why.machine("libwebsockets has no host", .{});
        return .{ .handle = handle, .vhost = vhost };
    }

    /// Hands over a socket with the head of a request that asks for a WebSocket. It is the library's from now on, and
    /// closed if that fails.
    pub fn adopt(self: Context, fd: net.Fd, head: []const u8) void {
        _ = c.lws_adopt_socket_vhost_readbuf(self.vhost, fd, head.ptr, head.len);
    }

    /// Tells the library what a socket is ready for.
    pub fn service(self: Context, connection: *Connection, ready: c_short) void {
        serving = connection;
        defer serving = null;
        var polled: c.struct_pollfd = .{ .fd = connection.fd, .events = c.POLLIN | c.POLLOUT, .revents = ready };
        _ = c.lws_service_fd(self.handle, &polled);
    }
};

/// Writes bytes that are framed already. What the socket does not take the library keeps, and sends when it can.
pub fn write(socket: *Socket, bytes: []u8) error{Broken}!void {
    if (c.lws_write(socket, bytes.ptr, bytes.len, c.LWS_WRITE_RAW) < 0) return error.Broken;
}

/// Whether the library keeps something that the socket did not take.
pub fn hasUnsent(socket: *Socket) bool {
    return c.lws_partial_buffered(socket) != 0;
}

/// Closes without a close frame, now or when the peer has seen the end.
pub fn hangUp(socket: *Socket) void {
    c.lws_set_timeout(socket, c.PENDING_TIMEOUT_USER_REASON_BASE, c.LWS_TO_KILL_SYNC);
}

fn onEvent(socket: ?*Socket, reason: c.enum_lws_callback_reasons, user: ?*anyopaque, in: ?*anyopaque, length: usize) callconv(.c) c_int {
    switch (reason) {
        c.LWS_CALLBACK_ESTABLISHED => {
            const worker: *Worker = @ptrCast(@alignCast(c.lws_context_user(c.lws_get_context(socket)).?));
            const session: *?*Connection = @ptrCast(@alignCast(user.?));
            session.* = worker.adopting;
            worker.adopting.?.socket = socket;
        },
        c.LWS_CALLBACK_RECEIVE => {
            const bytes: [*]u8 = if (in) |start| @ptrCast(start) else return 0;
            if (connectionOf(socket.?)) |connection| {
                connection.onPiece(bytes[0..length], c.lws_frame_is_binary(socket) != 0, c.lws_is_final_fragment(socket) != 0);
            }
        },
        c.LWS_CALLBACK_WS_PEER_INITIATED_CLOSE => {
            const payload: []u8 = if (in) |start| @as([*]u8, @ptrCast(start))[0..length] else &.{};
            if (connectionOf(socket.?)) |connection| connection.onClose(payload);
            // It need not answer: we have.
            return -1;
        },
        c.LWS_CALLBACK_CLOSED => if (connectionOf(socket.?)) |connection| {
            const session: *?*Connection = @ptrCast(@alignCast(user.?));
            session.* = null;
            connection.onSocketClosed();
        },
        else => {},
    }
    return 0;
}

fn connectionOf(socket: *Socket) ?*Connection {
    const session: *?*Connection = @ptrCast(@alignCast(c.lws_wsi_user(socket) orelse return null));
    return session.*;
}

/// The connection whose socket the library works with in this thread.
pub threadlocal var serving: ?*Connection = null;

/// Stands before the one of libc: the library calls it for what a client sends, and gets what the guard lets pass.
export fn recv(fd: c_int, buffer: [*]u8, length: usize, _: c_int) callconv(.c) isize {
    const space = buffer[0..length];
    return result(if (servedAs(fd)) |connection| connection.read(space) else net.receive(fd, space));
}

/// Stands before the one of libc: so we know what the socket has really taken.
export fn send(fd: c_int, buffer: [*]const u8, length: usize, _: c_int) callconv(.c) isize {
    const sent = net.send(fd, &.{.{ .base = buffer, .len = length }});
    if (servedAs(fd)) |connection| connection.onSent(sent catch 0);
    return result(sent);
}

fn servedAs(fd: c_int) ?*Connection {
    const connection = serving orelse return null;
    return if (connection.fd == fd) connection else null;
}

/// As C wants it.
fn result(transferred: net.TransferError!usize) isize {
    return @intCast(transferred catch |err| {
        std.c._errno().* = switch (err) {
            error.WouldBlock => @backingInt(std.c.E.AGAIN),
            error.Broken => @backingInt(std.c.E.CONNRESET),
        };
        return -1;
    });
}
