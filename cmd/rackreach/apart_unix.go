//go:build unix

package main

import "syscall"

// apart lets a process be started in a process group of its own.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
