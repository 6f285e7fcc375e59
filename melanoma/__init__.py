"""The ISIC 2019 melanoma pipeline: from the official archive to an explained classifier."""
