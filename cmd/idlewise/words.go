package main

import "strings"

// flagNames turn what the library says for programs into what its reader can do
// at a command line. Longer names come first: the first that fits is replaced.
var flagNames = strings.NewReplacer(
	"ProbeOptions.Method or Header", "-method or -header",
	"ProbeOptions.AnswerTimeout", "-answer-timeout",
	"ProbeOptions.Connections", "-connections",
	"ProbeOptions.MaxRequests", "-requests",
	"ProbeOptions.Resolution", "-resolution",
	"ProbeOptions.Stagger", "-stagger",
	"ProbeOptions.Timeout", "-timeout",
	"ProbeOptions.Method", "-method",
	"AnswerTimeout is over", "-answer-timeout is over",
	"Bisect and MaxRequests repeat it", "-bisect and -requests repeat it",
	"the Base's Proxy", "the proxy from the environment",
	"longer than MaxBody", "longer than 1 MiB",
	", or raise MaxBody", "",
	"give the server's CA in the Base's TLSClientConfig.RootCAs", "give the server's CA with -ca FILE, or accept any certificate with -insecure",
)

// inFlags is a message of the library's in the command's words.
func inFlags(message string) string { return flagNames.Replace(message) }
