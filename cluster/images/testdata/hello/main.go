// Command hello is a small program to put into an image.
package main

import "fmt"

func main() { fmt.Println("hello") }
