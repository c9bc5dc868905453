// Package browsertest drives debugpage's page in a real browser. It is a module
// of its own since only these tests need the browser's protocol. Where no
// Chromium is installed they are skipped and say so.
package browsertest
