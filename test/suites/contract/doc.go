// Package contract holds what the Kit pipeline relies on against a kit: the
// same checks run against the stand-in in test/fakes/kit, which is built for it,
// and, with KIT=path in the environment, against a real one. They say which
// version they ran against, and what that version could not be asked.
//
// Kit speaks to huggingface.co alone. Here it reaches a Hub over a folder
// under that name: by a proxy on loopback, with a certificate of an authority
// made for the test. No request leaves the machine.
package contract
