const std = @import("std");

pub fn build(b: *std.Build) void {
    const target = b.standardTargetOptions(.{});
    const optimize = b.standardOptimizeOption(.{});

    const headers = b.addTranslateC(.{ .root_source_file = b.path("src/lws.h"), .target = target, .optimize = optimize });
    const module = b.createModule(.{
        .root_source_file = b.path("src/main.zig"),
        .target = target,
        .optimize = optimize,
        .link_libc = true,
        .strip = optimize != .debug,
    });
    module.addImport("c", headers.createModule());
    module.linkSystemLibrary("websockets", .{});
    const program = b.addExecutable(.{ .name = "websocket-public-chat", .root_module = module });
    // The library must find our recv before the one of libc.
    program.rdynamic = true;
    b.installArtifact(program);

    const tests = b.addTest(.{ .root_module = module });
    b.step("test", "Run the unit tests").dependOn(&b.addRunArtifact(tests).step);
}
