//go:build !linux

package durable

func remote(string) bool { return false }
