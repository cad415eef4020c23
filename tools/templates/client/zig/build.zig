const std = @import("std");

pub fn build(b: *std.Build) void {
    const target = b.standardTargetOptions(.{});
    const optimize = b.standardOptimizeOption(.{});

    const module = b.createModule(.{
        .root_source_file = b.path("src/main.zig"),
        .target = target,
        .optimize = optimize,
        // One thread does the work, so the runtime needs no locks.
        .single_threaded = true,
        .strip = optimize != .debug,
    });
    b.installArtifact(b.addExecutable(.{ .name = "@@slug@@", .root_module = module }));

    const tests = b.addTest(.{ .root_module = module });
    b.step("test", "Run the unit tests").dependOn(&b.addRunArtifact(tests).step);
}
