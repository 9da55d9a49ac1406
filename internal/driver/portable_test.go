//go:build !linux || portable

package driver

const onEpoll = false
