// Package supervise runs programs that never outlive the process that asked for them, in a folder that is removed with
// them: a shell script starts them, and kills them when its standard input ends, which the kernel sees to when that process
// dies in whatever way. They run as an ordinary user, also where root asks.
package supervise
