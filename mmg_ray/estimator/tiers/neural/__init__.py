"""The neural denoiser: small networks trained side by side."""
