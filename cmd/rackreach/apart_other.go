//go:build !unix

package main

import "syscall"

// apart is nothing: there are no process groups here.
func apart() *syscall.SysProcAttr { return nil }
