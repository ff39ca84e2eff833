//go:build tools

// Package tools names MetalLB's programs, which the test of the migration needs, so that go.mod and go.sum pin all of them.
package tools

import (
	_ "go.universe.tf/metallb/controller"
	_ "go.universe.tf/metallb/speaker"
)
