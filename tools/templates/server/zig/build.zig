const std = @import("std");

pub fn build(b: *std.Build) void {
    const target = b.standardTargetOptions(.{});
    const optimize = b.standardOptimizeOption(.{});

    const module = b.createModule(.{
        .root_source_file = b.path("src/main.zig"),
        .target = target,
        .optimize = optimize,
        // The first thread waits for signals; --threads asks for more.
        .single_threaded = false,
        .strip = optimize != .debug,
    });
    b.installArtifact(b.addExecutable(.{ .name = "@@slug@@", .root_module = module }));

    const tests = b.addTest(.{ .root_module = module });
    b.step("test", "Run the unit tests").dependOn(&b.addRunArtifact(tests).step);
}
