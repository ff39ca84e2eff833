//go:build tools

// Package tools names the command that the chart's tests need, so that go.mod and go.sum pin all of it.
package tools

import _ "helm.sh/helm/v3/cmd/helm"
